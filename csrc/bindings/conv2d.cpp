#include "ops/conv2d.h"

#include "bindings/convolution.h"
#include "bindings/dropout.h"
#include "bindings/ops.h"
#include "bindings/sgd.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void conv2d_fold(const FoldOptions& layout, const Tensor& x, const Tensor& folded, uintptr_t stream) {
  Conv2dFoldParams params{};
  params.dtype = x.floating();
  const auto [h, w, c] = layout.unfolded;
  const auto [folded_h, folded_w, folded_c] = layout.shape;
  const int64_t n = x.shape.empty() ? 0 : x.shape[0];
  params.shape = check_fold(n, h, w, c, layout.stride, layout.padding, layout.shape, params.dtype);
  params.tensor = x.of_shape({n, h, w, c}).data<const void>();
  params.folded = folded.of_dtype(x.dtype.c_str()).of_shape({n, folded_h, folded_w, folded_c}).data<void>(16);
  check_disjoint(folded, x);
  launch_conv2d_fold(params, to_stream(stream));
}

void conv2d_fprop(const Conv2dProblem& problem, const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                  const OptionalTensor& addend, const Tensor& y, const std::string& activation,
                  const std::optional<DropoutOptions>& dropout, const OptionalTensor& dropout_step,
                  const OptionalTensor& workspace, uintptr_t stream) {
  Conv2dFpropParams params{};
  params.problem = problem;
  const Conv2dTensors tensors(problem);
  params.x = tensors.input(x);
  params.weight = tensors.operand(tensors.weight(weight));
  if (bias) params.bias = tensors.bias(*bias).data<const float>();
  if (addend) params.addend = tensors.y(*addend).strided<const float>();
  params.y = tensors.output(tensors.y(y));
  params.y_float = y.dtype == "float32";
  params.activation = parse_activation(activation);
  if (dropout) {
    params.dropout = check_dropout(*dropout, required("dropout_step", dropout_step), params.problem.output_positions(),
                                   params.problem.K);
  }
  params.workspace = check_workspace<void>(workspace, conv2d_workspace_bytes(problem, Direction::kFprop));
  launch_conv2d_fprop(params, to_stream(stream));
}

void conv2d_dgrad(const Conv2dProblem& problem, const Tensor& dy, const Tensor& weight, const OptionalTensor& mask,
                  double mask_scale, const OptionalTensor& addend, const Tensor& dx, const OptionalTensor& workspace,
                  uintptr_t stream) {
  if (!mask && mask_scale != 1.0) {
    throw std::invalid_argument("mask_scale is " + std::to_string(mask_scale) + "; expected 1 without a mask");
  }
  Conv2dDgradParams params{};
  params.problem = problem;
  const Conv2dTensors tensors(problem);
  params.dy = tensors.operand(tensors.y(dy));
  params.weight = tensors.operand(tensors.weight(weight));
  if (mask) params.mask = tensors.operand(tensors.x(*mask));
  params.mask_scale = check_finite("mask_scale", mask_scale);
  if (addend) params.addend = tensors.x(*addend).strided<const float>();
  params.dx = tensors.output(tensors.x(dx));
  params.dx_float = dx.dtype == "float32";
  params.workspace = check_workspace<void>(workspace, conv2d_workspace_bytes(problem, Direction::kDgrad));
  launch_conv2d_dgrad(params, to_stream(stream));
}

void conv2d_wgrad(const Conv2dProblem& problem, const Tensor& x, const Tensor& dy, const OptionalTensor& dweight,
                  const OptionalTensor& dbias, bool accumulate, const std::optional<SgdOptions>& sgd,
                  const OptionalTensor& sgd_weights, const OptionalTensor& sgd_velocity, const OptionalTensor& sgd_copy,
                  const OptionalTensor& sgd_learning_rate, const OptionalTensor& workspace, uintptr_t stream) {
  Conv2dWgradParams params{};
  params.problem = problem;
  const Conv2dTensors tensors(problem);
  params.x = tensors.input(x);
  params.dy = tensors.operand(tensors.y(dy));
  if (sgd) {
    if (accumulate) throw std::invalid_argument("accumulate is True; expected False with sgd");
    const Tensor& weights = tensors.weight(required("sgd_weights", sgd_weights));
    params.sgd = check_sgd(*sgd, weights, required("sgd_velocity", sgd_velocity), sgd_copy,
                           required("sgd_learning_rate", sgd_learning_rate));
    if (sgd_copy) tensors.operand(*sgd_copy);
  }
  if (dweight || !sgd) params.dweight = tensors.weight(required("dweight", dweight)).strided<float>();
  if (dbias) {
    params.dbias = tensors.bias(*dbias).data<float>();
    static_cast<void>(dy.data<const void>(16));  // what the kernel of the column sums takes
  }
  params.accumulate = accumulate;
  params.workspace = check_workspace<void>(workspace, conv2d_workspace_bytes(problem, Direction::kWgrad));
  launch_conv2d_wgrad(params, to_stream(stream));
}

// What a direction of a problem runs with, for people and tests; `force` as in ALEXNET_CUDA_FORCE.
py::dict conv2d_config(const Conv2dProblem& problem, const std::string& direction, bool aligned,
                       const std::string& force, int64_t multiprocessors, int64_t multiprocessor_bytes) {
  const Machine machine = check_machine(multiprocessors, multiprocessor_bytes);
  const GemmForce pins = parse_gemm_force(force);
  const Conv2dPlan plan = conv2d_plan(problem, parse_direction(direction), aligned, machine, pins);
  return py::dict("m"_a = plan.gemm.m, "n"_a = plan.gemm.n, "k"_a = plan.gemm.k, "groups"_a = plan.gemm.groups,
                  "fold"_a = plan.fold, "vector"_a = plan.config.vector,
                  "tile"_a = py::make_tuple(plan.config.tile_m, plan.config.tile_n, plan.config.tile_k),
                  "splits"_a = plan.config.splits, "blocks"_a = plan.config.blocks(plan.gemm),
                  "resident_blocks"_a = plan.config.resident_blocks,
                  "x_shape"_a = py::make_tuple(plan.problem.N, plan.problem.H, plan.problem.W, plan.problem.C),
                  "workspace_bytes"_a = plan.workspace_bytes, "microseconds"_a = plan.config.microseconds,
                  "reason"_a = gemm_reason(plan.gemm, plan.config, machine, pins));
}

int64_t conv2d_workspace(const Conv2dProblem& problem, const std::string& direction) {
  return conv2d_workspace_bytes(problem, parse_direction(direction));
}

}  // namespace

void bind_conv2d(py::module_& module) {
  bind_launch(module, "conv2d_fold", &conv2d_fold,
              "Space to depth: cells of stride x stride positions, padding included, of x become the channels of one.",
              "layout"_a, "x"_a, "folded"_a);
  bind_launch(module, "conv2d_fprop", &conv2d_fprop,
              "y = dropout(activation(addend + bias + x * weight)); bias and addend are float32, y of the operands' "
              "type or float32. Dropout as dropout_apply of the matrix [N * P * Q, K], before y is rounded.",
              "problem"_a, "x"_a, "weight"_a, "bias"_a, "addend"_a, "y"_a, "activation"_a, "dropout"_a,
              "dropout_step"_a, "workspace"_a);
  bind_launch(module, "conv2d_dgrad", &conv2d_dgrad,
              "dx = mask_scale * (addend + dy * weight^T) where mask is positive, else 0; addend is float32.",
              "problem"_a, "dy"_a, "weight"_a, "mask"_a, "mask_scale"_a, "addend"_a, "dx"_a, "workspace"_a);
  bind_launch(module, "conv2d_wgrad", &conv2d_wgrad,
              "dweight (+)= dy^T * x and dbias = column sums of dy, both float32. With sgd also what sgd does with "
              "dweight, which may then be None; sgd_copy is of the operands' 16-bit type.",
              "problem"_a, "x"_a, "dy"_a, "dweight"_a, "dbias"_a, "accumulate"_a, "sgd"_a, "sgd_weights"_a,
              "sgd_velocity"_a, "sgd_copy"_a, "sgd_learning_rate"_a, "workspace"_a);
  module.def("conv2d_workspace_bytes", &conv2d_workspace, py::kw_only(), "problem"_a, "direction"_a,
             "Bytes of workspace that a direction (fprop, dgrad, wgrad) needs.");
  module.def("conv2d_plan_count", &conv2d_plan_count,
             "Launch choices made so far: one for each new problem, direction, GPU, alignment and ALEXNET_CUDA_FORCE.");
  module.def("conv2d_config", &conv2d_config, py::kw_only(), "problem"_a, "direction"_a, "aligned"_a, "force"_a,
             "multiprocessors"_a = kReferenceMachine.multiprocessors,
             "multiprocessor_bytes"_a = kReferenceMachine.shared_bytes,
             "Launch choice of a direction, with the reason; force is what ALEXNET_CUDA_FORCE would hold. Of the GPU, "
             "an H200 by default, the tile may depend, nothing else.");
}

}  // namespace alexnet::bindings
