#include "ops/conv2d.h"

#include "bindings/convolution.h"
#include "bindings/ops.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

using Conv2dSizes = std::array<int64_t, 7>;  // N, H, W, C, K, R, S
using Pair = std::array<int64_t, 2>;         // vertical, horizontal

Conv2dProblem to_conv2d_problem(const Conv2dSizes& shape, const Pair& stride, const Pair& padding, int64_t groups,
                                const Pitches& pitch, const std::string& precision) {
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
  check_conv2d(problem);
  return problem;
}

void conv2d_fprop(uintptr_t x, uintptr_t weight, uintptr_t bias, uintptr_t addend, uintptr_t y, bool y_float,
                  const std::string& activation, uintptr_t workspace, int64_t workspace_bytes, const Conv2dSizes& shape,
                  const Pair& stride, const Pair& padding, int64_t groups, const Pitches& pitch,
                  const std::string& precision, uintptr_t stream) {
  Conv2dFpropParams params{};
  params.problem = to_conv2d_problem(shape, stride, padding, groups, pitch, precision);
  const Conv2dPointers pointers(params.problem);
  params.x = pointers.x("x", x);
  params.weight = pointers.weight("weight", weight);
  params.bias = pointers.bias("bias", bias);
  if (addend != 0) params.addend = static_cast<const float*>(pointers.y("addend", addend, true));
  params.y = pointers.y("y", y, y_float);
  params.y_float = y_float;
  params.activation = parse_activation(activation);
  params.workspace = pointers.workspace(Direction::kFprop, workspace, workspace_bytes);
  launch_conv2d_fprop(params, to_stream(stream));
}

void conv2d_dgrad(uintptr_t dy, uintptr_t weight, uintptr_t mask, uintptr_t addend, uintptr_t dx, bool dx_float,
                  uintptr_t workspace, int64_t workspace_bytes, const Conv2dSizes& shape, const Pair& stride,
                  const Pair& padding, int64_t groups, const Pitches& pitch, const std::string& precision,
                  uintptr_t stream) {
  Conv2dDgradParams params{};
  params.problem = to_conv2d_problem(shape, stride, padding, groups, pitch, precision);
  const Conv2dPointers pointers(params.problem);
  params.dy = pointers.y("dy", dy);
  params.weight = pointers.weight("weight", weight);
  if (mask != 0) params.mask = pointers.x("mask", mask);
  if (addend != 0) params.addend = static_cast<const float*>(pointers.x("addend", addend, true));
  params.dx = pointers.x("dx", dx, dx_float);
  params.dx_float = dx_float;
  params.workspace = pointers.workspace(Direction::kDgrad, workspace, workspace_bytes);
  launch_conv2d_dgrad(params, to_stream(stream));
}

void conv2d_wgrad(uintptr_t x, uintptr_t dy, uintptr_t dweight, uintptr_t dbias, bool accumulate, uintptr_t workspace,
                  int64_t workspace_bytes, const Conv2dSizes& shape, const Pair& stride, const Pair& padding,
                  int64_t groups, const Pitches& pitch, const std::string& precision, uintptr_t stream) {
  Conv2dWgradParams params{};
  params.problem = to_conv2d_problem(shape, stride, padding, groups, pitch, precision);
  const Conv2dPointers pointers(params.problem);
  params.x = pointers.x("x", x);
  params.dy = pointers.y("dy", dy);
  params.dweight = static_cast<float*>(pointers.weight("dweight", dweight, true));
  params.dbias = pointers.bias("dbias", dbias);
  pointers.check_bias_gradient(params.dbias, dy);
  params.accumulate = accumulate;
  params.workspace = pointers.workspace(Direction::kWgrad, workspace, workspace_bytes);
  launch_conv2d_wgrad(params, to_stream(stream));
}

py::dict conv2d_config(const std::string& direction, bool aligned, const std::string& force, const Conv2dSizes& shape,
                       const Pair& stride, const Pair& padding, int64_t groups, const Pitches& pitch,
                       const std::string& precision) {
  return describe_choice(to_conv2d_problem(shape, stride, padding, groups, pitch, precision),
                         parse_direction(direction), aligned, force);
}

int64_t conv2d_workspace(const std::string& direction, const Conv2dSizes& shape, const Pair& stride,
                         const Pair& padding, int64_t groups, const Pitches& pitch, const std::string& precision) {
  return conv2d_workspace_bytes(to_conv2d_problem(shape, stride, padding, groups, pitch, precision),
                                parse_direction(direction));
}

}  // namespace

void bind_conv2d(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def(
      "conv2d_fprop", &conv2d_fprop, py::kw_only(), py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("addend"),
      py::arg("y"), py::arg("y_float"), py::arg("activation"), py::arg("workspace"), py::arg("workspace_bytes"),
      py::arg("shape"), py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"),
      py::arg("precision"), py::arg("stream"), Unlocked(),
      "y = activation(addend + bias + x * weight). shape is N, H, W, C, K, R, S; pitch is that of x, y and weight, "
      "0 for dense; bias and addend are float32 and may be 0 for none; y is float32 where y_float.");
  module.def("conv2d_dgrad", &conv2d_dgrad, py::kw_only(), py::arg("dy"), py::arg("weight"), py::arg("mask"),
             py::arg("addend"), py::arg("dx"), py::arg("dx_float"), py::arg("workspace"), py::arg("workspace_bytes"),
             py::arg("shape"), py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"),
             py::arg("precision"), py::arg("stream"), Unlocked(),
             "dx = addend + dy * weight^T where mask is positive, else 0; mask and addend may be 0 for none.");
  module.def("conv2d_wgrad", &conv2d_wgrad, py::kw_only(), py::arg("x"), py::arg("dy"), py::arg("dweight"),
             py::arg("dbias"), py::arg("accumulate"), py::arg("workspace"), py::arg("workspace_bytes"),
             py::arg("shape"), py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"),
             py::arg("precision"), py::arg("stream"), Unlocked(),
             "dweight (+)= dy^T * x and dbias = column sums of dy, both float32; dbias may be 0 for not wanted.");
  module.def("conv2d_workspace_bytes", &conv2d_workspace, py::kw_only(), py::arg("direction"), py::arg("shape"),
             py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"), py::arg("precision"),
             "Bytes of workspace that a direction (fprop, dgrad, wgrad) needs.");
  module.def("conv2d_config", &conv2d_config, py::kw_only(), py::arg("direction"), py::arg("aligned"), py::arg("force"),
             py::arg("shape"), py::arg("stride"), py::arg("padding"), py::arg("groups"), py::arg("pitch"),
             py::arg("precision"),
             "Launch choice of a direction, with the reason; force is what ALEXNET_CUDA_FORCE would hold.");
}

}  // namespace alexnet::bindings
