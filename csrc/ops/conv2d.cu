#include "ops/conv2d.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

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

const char* environment(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? "" : text;
}

struct Plans {
  Conv2dPlan plan[2];  // by whether the operands lie on 16 bytes
};

std::atomic<int64_t> plan_count{0};

// The plans of a direction of a problem on this thread's GPU, with the pins of ALEXNET_CUDA_FORCE. They are made once:
// a step plans nothing. Each thread has its own, so that nothing is locked, also not in a process forked meanwhile.
const Plans& known_plans(const Conv2dProblem& problem, Direction direction) {
  thread_local std::map<std::array<int, 22>, Plans> known;
  thread_local std::string known_force;
  const char* const force = environment("ALEXNET_CUDA_FORCE");
  const Machine machine = current_machine();
  constexpr size_t kMost = 4096;  // so that batches of ever new sizes do not add up
  if (known_force != force || known.size() > kMost) known.clear();
  known_force = force;
  const Conv2dProblem& p = problem;
  const std::array<int, 22> key{p.N,
                                p.H,
                                p.W,
                                p.C,
                                p.K,
                                p.R,
                                p.S,
                                p.P,
                                p.Q,
                                p.stride_h,
                                p.stride_w,
                                p.padding_h,
                                p.padding_w,
                                p.groups,
                                p.x_pitch,
                                p.y_pitch,
                                p.weight_pitch,
                                static_cast<int>(p.precision),
                                p.x_folded,
                                static_cast<int>(direction),
                                machine.multiprocessors,
                                machine.shared_bytes};
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  const GemmForce pins = parse_gemm_force(force);
  plan_count += 2;
  return known
      .emplace(key, Plans{{conv2d_plan(problem, direction, false, machine, pins),
                           conv2d_plan(problem, direction, true, machine, pins)}})
      .first->second;
}

// Shown where ALEXNET_CUDA_LOG asks for it.
const Conv2dPlan& known_plan(const Conv2dProblem& problem, Direction direction, bool aligned) {
  const Conv2dPlan& plan = known_plans(problem, direction).plan[aligned];
  if (std::string_view(environment("ALEXNET_CUDA_LOG")) == "config") {
    const GemmForce pins = parse_gemm_force(environment("ALEXNET_CUDA_FORCE"));
    std::fprintf(stderr, "alexnet_cuda: conv2d %s, %d x %d x %d x %d to %d by %d x %d: %s\n", name_of(direction),
                 problem.N, problem.H, problem.W, problem.C, problem.K, problem.R, problem.S,
                 describe_plan(plan, current_machine(), pins).c_str());
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
  const Plans& plans = known_plans(problem, direction);
  return std::max(plans.plan[false].workspace_bytes, plans.plan[true].workspace_bytes);
}

int64_t conv2d_plan_count() {
  return plan_count;
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
  const Conv2dPlan& plan = known_plan(problem, Direction::kFprop, aligned16({params.x, params.weight}));
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
  const Conv2dPlan& plan = known_plan(params.problem, Direction::kDgrad, aligned16({params.dy, params.weight}));
  dispatch_precision(params.problem.precision, [&](auto gemm) { gemm.dgrad(plan, params, stream); });
}

void launch_conv2d_wgrad(const Conv2dWgradParams& params, cudaStream_t stream) {
  const Conv2dProblem& problem = params.problem;
  const Conv2dPlan& plan = known_plan(problem, Direction::kWgrad, aligned16({params.x, params.dy}));
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
