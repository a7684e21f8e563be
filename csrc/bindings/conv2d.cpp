#include "ops/conv2d.h"

#include "bindings/convolution.h"
#include "bindings/fold.h"
#include "bindings/ops.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

using Conv2dSizes = std::array<int64_t, 7>;  // N, H, W, C, K, R, S

Conv2dProblem to_conv2d_problem(const Conv2dSizes& shape, const Pair& stride, const Pair& padding, int64_t groups,
                                const Pitches& pitch, const std::string& precision, bool x_folded = false) {
  Conv2dProblem problem{};
  problem.N = to_int("N", shape[0], 0);
  problem.H = to_int("H", shape[1], 1);
  problem.W = to_int("W", shape[2], 1);
  problem.C = to_int("C", shape[3], 1);
  problem.K = to_int("K", shape[4], 1);
  problem.R = to_int("R", shape[5], 1);
  problem.S = to_int("S", shape[6], 1);
  problem.stride_h = to_int("stride", stride[0], 1);
  problem.stride_w = to_int("stride", stride[1], 1);
  problem.padding_h = to_int("padding", padding[0], 0);
  problem.padding_w = to_int("padding", padding[1], 0);
  problem.groups = to_int("groups", groups, 1);
  problem.x_pitch = to_int("x_pitch", pitch[0], 0);
  problem.y_pitch = to_int("y_pitch", pitch[1], 0);
  problem.weight_pitch = to_int("weight_pitch", pitch[2], 0);
  problem.precision = parse_precision(precision);
  problem.x_folded = x_folded;
  check_conv2d(problem);
  return problem;
}

void conv2d_fold(uintptr_t x, uintptr_t folded, const std::array<int64_t, 4>& shape, const Pair& stride,
                 const Pair& padding, const FoldExtents& fold_shape, const std::string& dtype, uintptr_t stream) {
  const auto [n, h, w, c] = shape;
  Conv2dFoldParams params{};
  params.dtype = parse_dtype(dtype);
  params.shape = check_fold(n, h, w, c, stride, padding, fold_shape, params.dtype);
  const int bytes = dtype_bytes(params.dtype);
  const int64_t count = n * h * w * c, folded_count = params.shape.folded_count();
  params.tensor = check_pointer<const void>("x", x, count, bytes);
  params.folded = check_pointer<void>("folded", folded, folded_count, bytes, 16);
  check_disjoint("folded", params.folded, folded_count * bytes, "x", params.tensor, count * bytes);
  launch_conv2d_fold(params, to_stream(stream));
}

void conv2d_fprop(uintptr_t x, uintptr_t weight, uintptr_t bias, uintptr_t addend, uintptr_t y, bool y_float,
                  const std::string& activation, uintptr_t workspace, int64_t workspace_bytes, const Conv2dSizes& shape,
                  const Pair& stride, const Pair& padding, int64_t groups, const Pitches& pitch,
                  const std::string& precision, uintptr_t stream, double dropout_rate, uint64_t dropout_seed,
                  uint32_t dropout_purpose, uintptr_t dropout_step, int64_t dropout_start, int64_t dropout_row_stride,
                  bool x_folded) {
  Conv2dFpropParams params{};
  params.problem = to_conv2d_problem(shape, stride, padding, groups, pitch, precision, x_folded);
  const Conv2dArguments checked(params.problem);
  params.x = checked.input(x);
  params.weight = checked.weight("weight", weight);
  params.bias = checked.bias("bias", bias);
  params.addend = checked.y_addend(addend);
  params.y = checked.y("y", y, y_float);
  params.y_float = y_float;
  params.activation = parse_activation(activation);
  params.dropout =
      checked.dropout({dropout_rate, dropout_seed, dropout_purpose, dropout_step, dropout_start, dropout_row_stride});
  params.workspace = checked.workspace(Direction::kFprop, workspace, workspace_bytes);
  launch_conv2d_fprop(params, to_stream(stream));
}

void conv2d_dgrad(uintptr_t dy, uintptr_t weight, uintptr_t mask, uintptr_t addend, uintptr_t dx, bool dx_float,
                  uintptr_t workspace, int64_t workspace_bytes, const Conv2dSizes& shape, const Pair& stride,
                  const Pair& padding, int64_t groups, const Pitches& pitch, const std::string& precision,
                  uintptr_t stream, double mask_scale) {
  Conv2dDgradParams params{};
  params.problem = to_conv2d_problem(shape, stride, padding, groups, pitch, precision);
  const Conv2dArguments checked(params.problem);
  params.dy = checked.y("dy", dy);
  params.weight = checked.weight("weight", weight);
  if (mask != 0) params.mask = checked.x("mask", mask);
  params.mask_scale = checked.mask_scale(mask_scale, mask);
  params.addend = checked.x_addend(addend);
  params.dx = checked.x("dx", dx, dx_float);
  params.dx_float = dx_float;
  params.workspace = checked.workspace(Direction::kDgrad, workspace, workspace_bytes);
  launch_conv2d_dgrad(params, to_stream(stream));
}

void conv2d_wgrad(uintptr_t x, uintptr_t dy, uintptr_t dweight, uintptr_t dbias, bool accumulate, uintptr_t workspace,
                  int64_t workspace_bytes, const Conv2dSizes& shape, const Pair& stride, const Pair& padding,
                  int64_t groups, const Pitches& pitch, const std::string& precision, uintptr_t stream,
                  uintptr_t sgd_weights, uintptr_t sgd_velocity, uintptr_t sgd_copy, uintptr_t sgd_learning_rate,
                  double sgd_rate_factor, double sgd_momentum, double sgd_weight_decay, double sgd_gradient_scale,
                  bool x_folded) {
  Conv2dWgradParams params{};
  params.problem = to_conv2d_problem(shape, stride, padding, groups, pitch, precision, x_folded);
  const Conv2dArguments checked(params.problem);
  params.x = checked.input(x);
  params.dy = checked.y("dy", dy);
  params.sgd = checked.sgd({sgd_weights, sgd_velocity, sgd_copy, sgd_learning_rate, sgd_rate_factor, sgd_momentum,
                            sgd_weight_decay, sgd_gradient_scale},
                           accumulate);
  if (dweight != 0 || sgd_weights == 0) {
    params.dweight = static_cast<float*>(checked.weight("dweight", dweight, true));
  }
  params.dbias = checked.bias("dbias", dbias);
  checked.check_bias_gradient(params.dbias, dy);
  params.accumulate = accumulate;
  params.workspace = checked.workspace(Direction::kWgrad, workspace, workspace_bytes);
  launch_conv2d_wgrad(params, to_stream(stream));
}

py::dict conv2d_config(const std::string& direction, bool aligned, const std::string& force, const Conv2dSizes& shape,
                       const Pair& stride, const Pair& padding, int64_t groups, const Pitches& pitch,
                       const std::string& precision, bool x_folded, int64_t multiprocessors,
                       int64_t multiprocessor_bytes) {
  return describe_choice(to_conv2d_problem(shape, stride, padding, groups, pitch, precision, x_folded),
                         parse_direction(direction), aligned, force,
                         check_machine(multiprocessors, multiprocessor_bytes));
}

int64_t conv2d_workspace(const std::string& direction, const Conv2dSizes& shape, const Pair& stride,
                         const Pair& padding, int64_t groups, const Pitches& pitch, const std::string& precision,
                         bool x_folded) {
  return conv2d_workspace_bytes(to_conv2d_problem(shape, stride, padding, groups, pitch, precision, x_folded),
                                parse_direction(direction));
}

}  // namespace

void bind_conv2d(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("conv2d_fold", &conv2d_fold, py::kw_only(), py::arg("x"), py::arg("folded"), py::arg("shape"),
             py::arg("stride"), py::arg("padding"), py::arg("fold_shape"), py::arg("dtype"), py::arg("stream"),
             Unlocked(),
             "Space to depth: cells of stride x stride positions, padding included, of x become the channels of one; "
             "shape is N, H, W, C; fold_shape height, width and channels of folded, which is on 16 bytes.");
  module.def(
      "conv2d_fprop", &conv2d_fprop, py::kw_only(), py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("addend"),
      py::arg("y"), py::arg("y_float"), py::arg("activation"), py::arg("workspace"), py::arg("workspace_bytes"),
      py::arg("shape"), py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"),
      py::arg("precision"), py::arg("stream"), py::arg("dropout_rate") = 0.0, py::arg("dropout_seed") = 0,
      py::arg("dropout_purpose") = 0, py::arg("dropout_step") = 0, py::arg("dropout_start") = 0,
      py::arg("dropout_row_stride") = 0, py::arg("x_folded") = false, Unlocked(),
      "y = dropout(activation(addend + bias + x * weight)). shape is N, H, W, C, K, R, S; pitch is that of x, y and "
      "weight, 0 for dense; bias and addend are float32 and may be 0 for none; y is float32 where y_float. Dropout as "
      "dropout_apply of the matrix [N * P * Q, K], before y is rounded; dropout_step 0: none. "
      "With x_folded x is what conv2d_fold makes of it, on 16 bytes; shape is still that of the convolution.");
  module.def(
      "conv2d_dgrad", &conv2d_dgrad, py::kw_only(), py::arg("dy"), py::arg("weight"), py::arg("mask"),
      py::arg("addend"), py::arg("dx"), py::arg("dx_float"), py::arg("workspace"), py::arg("workspace_bytes"),
      py::arg("shape"), py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"),
      py::arg("precision"), py::arg("stream"), py::arg("mask_scale") = 1.0, Unlocked(),
      "dx = mask_scale * (addend + dy * weight^T) where mask is positive, else 0; mask and addend may be 0 for none.");
  module.def("conv2d_wgrad", &conv2d_wgrad, py::kw_only(), py::arg("x"), py::arg("dy"), py::arg("dweight"),
             py::arg("dbias"), py::arg("accumulate"), py::arg("workspace"), py::arg("workspace_bytes"),
             py::arg("shape"), py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"),
             py::arg("precision"), py::arg("stream"), py::arg("sgd_weights") = 0, py::arg("sgd_velocity") = 0,
             py::arg("sgd_copy") = 0, py::arg("sgd_learning_rate") = 0, py::arg("sgd_rate_factor") = 1.0,
             py::arg("sgd_momentum") = 0.0, py::arg("sgd_weight_decay") = 0.0, py::arg("sgd_gradient_scale") = 1.0,
             py::arg("x_folded") = false, Unlocked(),
             "dweight (+)= dy^T * x and dbias = column sums of dy, both float32; dbias may be 0 for not wanted. With "
             "sgd_weights also what sgd does with dweight, which may then be 0; sgd_copy is of the precision's 16-bit "
             "type; x_folded as in conv2d_fprop.");
  module.def("conv2d_workspace_bytes", &conv2d_workspace, py::kw_only(), py::arg("direction"), py::arg("shape"),
             py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"), py::arg("precision"),
             py::arg("x_folded") = false, "Bytes of workspace that a direction (fprop, dgrad, wgrad) needs.");
  module.def(
      "conv2d_config", &conv2d_config, py::kw_only(), py::arg("direction"), py::arg("aligned"), py::arg("force"),
      py::arg("shape"), py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"),
      py::arg("precision"), py::arg("x_folded") = false, py::arg("multiprocessors") = kReferenceMachine.multiprocessors,
      py::arg("multiprocessor_bytes") = kReferenceMachine.shared_bytes,
      "Launch choice of a direction, with the reason; force is what ALEXNET_CUDA_FORCE would hold. Of the GPU, an "
      "H200 by default, the tile may depend, nothing else.");
}

}  // namespace alexnet::bindings
