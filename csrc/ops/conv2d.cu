#include "ops/conv2d.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/bias.h"
#include "ops/conv2d_fold.cuh"
#include "ops/conv2d_gemm.cuh"

namespace alexnet {
namespace {

const char* name_of(Direction direction) {
  return direction == Direction::kFprop ? "fprop" : direction == Direction::kDgrad ? "dgrad" : "wgrad";
}

GemmForce environment_force() {
  const char* const text = std::getenv("ALEXNET_CUDA_FORCE");
  return parse_gemm_force(text == nullptr ? "" : text);
}

// The plan with the pins of ALEXNET_CUDA_FORCE; shown where ALEXNET_CUDA_LOG asks for it.
Conv2dPlan environment_plan(const Conv2dProblem& problem, Direction direction, bool aligned) {
  const Conv2dPlan plan = conv2d_plan(problem, direction, aligned, current_machine(), environment_force());
  const char* const log = std::getenv("ALEXNET_CUDA_LOG");
  if (log != nullptr && std::string(log) == "config") {
    std::fprintf(stderr, "alexnet_cuda: conv2d %s, %d x %d x %d x %d to %d by %d x %d: %s\n", name_of(direction),
                 problem.N, problem.H, problem.W, problem.C, problem.K, problem.R, problem.S,
                 describe_plan(plan).c_str());
  }
  return plan;
}

// x as the product takes it, folded to the workspace unless it is.
const void* folded_x(const Conv2dPlan& plan, const Conv2dProblem& problem, const void* x, void* workspace,
                     cudaStream_t stream) {
  if (problem.x_folded) return x;
  void* const folded = at_offset<void>(workspace, plan.x_offset);
  launch_conv2d_fold({x_fold_shape(problem), x, folded, precision_dtype(problem.precision)}, stream);
  return folded;
}

void launch_unfold(const float* folded, const Conv2dWgradParams& params, const FoldShape& shape, cudaStream_t stream) {
  const int64_t count = int64_t{shape.n} * shape.h * shape.w * shape.c;
  const ElementwiseConfig config = elementwise_config({count, 4, false}, current_machine());
  dispatch_dtype(precision_dtype(params.problem.precision), [&](auto type) {
    using T = typename decltype(type)::type;
    launch<conv2d_unfold_kernel<T>>(config.grid, config.block, 0, stream, folded, shape, WgradEpilogue<T>({}, params));
  });
}

// Calls function(Conv2dGemm<precision>{}).
template <class Function>
void dispatch_precision(Precision precision, Function&& function) {
  switch (precision) {
    case Precision::kFloat32:
      return function(Conv2dGemm<Precision::kFloat32>{});
    case Precision::kTf32:
      return function(Conv2dGemm<Precision::kTf32>{});
    case Precision::kBFloat16:
      return function(Conv2dGemm<Precision::kBFloat16>{});
    case Precision::kFloat16:
      return function(Conv2dGemm<Precision::kFloat16>{});
  }
}

}  // namespace

int64_t conv2d_workspace_bytes(const Conv2dProblem& problem, Direction direction) {
  const GemmForce force = environment_force();
  return std::max(conv2d_plan(problem, direction, true, kReferenceMachine, force).workspace_bytes,
                  conv2d_plan(problem, direction, false, kReferenceMachine, force).workspace_bytes);
}

void launch_conv2d_fold(const Conv2dFoldParams& params, cudaStream_t stream) {
  const FoldShape& shape = params.shape;
  if (shape.n == 0) return;
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    constexpr int kVector = 16 / sizeof(T);
    const ElementwiseConfig config =
        elementwise_config({shape.folded_count(), static_cast<int>(sizeof(T)), true}, current_machine());
    launch<conv2d_fold_kernel<T, kVector>>(config.grid, config.block, 0, stream, static_cast<const T*>(params.tensor),
                                           static_cast<T*>(params.folded), shape, FastDivmod(shape.stride_w * shape.c),
                                           FastDivmod(shape.folded_w), FastDivmod(shape.folded_h * shape.folded_w));
  });
}

void launch_conv2d_fprop(const Conv2dFpropParams& params, cudaStream_t stream) {
  const Conv2dProblem& problem = params.problem;
  if (problem.N == 0) return;
  const Conv2dPlan plan = environment_plan(problem, Direction::kFprop, aligned16({params.x, params.weight}));
  Conv2dFpropParams product = params;
  if (plan.fold) {
    void* const weight = at_offset<void>(params.workspace, plan.weight_offset);
    product.x = folded_x(plan, problem, params.x, params.workspace, stream);
    launch_conv2d_fold({weight_fold_shape(problem), params.weight, weight, precision_dtype(problem.precision)}, stream);
    product.weight = weight;
  }
  dispatch_precision(problem.precision, [&](auto gemm) { gemm.fprop(plan, product, stream); });
}

void launch_conv2d_dgrad(const Conv2dDgradParams& params, cudaStream_t stream) {
  if (params.problem.N == 0) return;
  const Conv2dPlan plan = environment_plan(params.problem, Direction::kDgrad, aligned16({params.dy, params.weight}));
  dispatch_precision(params.problem.precision, [&](auto gemm) { gemm.dgrad(plan, params, stream); });
}

void launch_conv2d_wgrad(const Conv2dWgradParams& params, cudaStream_t stream) {
  const Conv2dProblem& problem = params.problem;
  const Conv2dPlan plan = environment_plan(problem, Direction::kWgrad, aligned16({params.x, params.dy}));
  Conv2dWgradParams product = params;
  if (plan.fold) {
    product.x = folded_x(plan, problem, params.x, params.workspace, stream);
    // Unfolding does the rest.
    product.dweight = at_offset<float>(params.workspace, plan.weight_offset);
    product.accumulate = false;
    product.sgd = {};
  }
  dispatch_precision(problem.precision, [&](auto gemm) { gemm.wgrad(plan, product, stream); });
  if (plan.fold) launch_unfold(product.dweight, params, weight_fold_shape(problem), stream);
  if (params.dbias != nullptr) {
    // After the product, whose partial sums its own may overwrite.
    float* const partial = at_offset<float>(params.workspace, plan.partial_offset);
    launch_bias_bprop(
        {params.dy, params.dbias, partial, problem.output_positions(), problem.K, precision_dtype(problem.precision)},
        stream);
  }
}

}  // namespace alexnet
