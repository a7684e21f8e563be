#include "ops/linear.h"

#include "bindings/convolution.h"
#include "bindings/ops.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

using LinearSizes = std::array<int64_t, 3>;  // rows, in, out

LinearProblem to_linear_problem(const LinearSizes& shape, const Pitches& pitch, const std::string& precision) {
  LinearProblem problem{};
  problem.rows = to_int("rows", shape[0], 0);
  problem.in = to_int("in", shape[1], 1);
  problem.out = to_int("out", shape[2], 1);
  problem.x_pitch = to_int("x_pitch", pitch[0], 0);
  problem.y_pitch = to_int("y_pitch", pitch[1], 0);
  problem.weight_pitch = to_int("weight_pitch", pitch[2], 0);
  problem.precision = parse_precision(precision);
  check_conv2d(linear_as_conv2d(problem));
  return problem;
}

void linear_fprop(uintptr_t x, uintptr_t weight, uintptr_t bias, uintptr_t addend, uintptr_t y, bool y_float,
                  const std::string& activation, uintptr_t workspace, int64_t workspace_bytes, const LinearSizes& shape,
                  const Pitches& pitch, const std::string& precision, uintptr_t stream) {
  LinearFpropParams params{};
  params.problem = to_linear_problem(shape, pitch, precision);
  const Conv2dPointers pointers(linear_as_conv2d(params.problem));
  params.x = pointers.x("x", x);
  params.weight = pointers.weight("weight", weight);
  params.bias = pointers.bias("bias", bias);
  if (addend != 0) params.addend = static_cast<const float*>(pointers.y("addend", addend, true));
  params.y = pointers.y("y", y, y_float);
  params.y_float = y_float;
  params.activation = parse_activation(activation);
  params.workspace = pointers.workspace(Direction::kFprop, workspace, workspace_bytes);
  launch_linear_fprop(params, to_stream(stream));
}

void linear_dgrad(uintptr_t dy, uintptr_t weight, uintptr_t mask, uintptr_t addend, uintptr_t dx, bool dx_float,
                  uintptr_t workspace, int64_t workspace_bytes, const LinearSizes& shape, const Pitches& pitch,
                  const std::string& precision, uintptr_t stream) {
  LinearDgradParams params{};
  params.problem = to_linear_problem(shape, pitch, precision);
  const Conv2dPointers pointers(linear_as_conv2d(params.problem));
  params.dy = pointers.y("dy", dy);
  params.weight = pointers.weight("weight", weight);
  if (mask != 0) params.mask = pointers.x("mask", mask);
  if (addend != 0) params.addend = static_cast<const float*>(pointers.x("addend", addend, true));
  params.dx = pointers.x("dx", dx, dx_float);
  params.dx_float = dx_float;
  params.workspace = pointers.workspace(Direction::kDgrad, workspace, workspace_bytes);
  launch_linear_dgrad(params, to_stream(stream));
}

void linear_wgrad(uintptr_t x, uintptr_t dy, uintptr_t dweight, uintptr_t dbias, bool accumulate, uintptr_t workspace,
                  int64_t workspace_bytes, const LinearSizes& shape, const Pitches& pitch, const std::string& precision,
                  uintptr_t stream) {
  LinearWgradParams params{};
  params.problem = to_linear_problem(shape, pitch, precision);
  const Conv2dPointers pointers(linear_as_conv2d(params.problem));
  params.x = pointers.x("x", x);
  params.dy = pointers.y("dy", dy);
  params.dweight = static_cast<float*>(pointers.weight("dweight", dweight, true));
  params.dbias = pointers.bias("dbias", dbias);
  pointers.check_bias_gradient(params.dbias, dy);
  params.accumulate = accumulate;
  params.workspace = pointers.workspace(Direction::kWgrad, workspace, workspace_bytes);
  launch_linear_wgrad(params, to_stream(stream));
}

py::dict linear_config(const std::string& direction, bool aligned, const std::string& force, const LinearSizes& shape,
                       const Pitches& pitch, const std::string& precision) {
  return describe_choice(linear_as_conv2d(to_linear_problem(shape, pitch, precision)), parse_direction(direction),
                         aligned, force);
}

int64_t linear_workspace(const std::string& direction, const LinearSizes& shape, const Pitches& pitch,
                         const std::string& precision) {
  return linear_workspace_bytes(to_linear_problem(shape, pitch, precision), parse_direction(direction));
}

}  // namespace

void bind_linear(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def(
      "linear_fprop", &linear_fprop, py::kw_only(), py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("addend"),
      py::arg("y"), py::arg("y_float"), py::arg("activation"), py::arg("workspace"), py::arg("workspace_bytes"),
      py::arg("shape"), py::arg("pitch"), py::arg("precision"), py::arg("stream"), Unlocked(),
      "y = activation(addend + bias + x weight^T). shape is rows, in, out; pitch is that of x, y and weight, 0 for "
      "dense; bias and addend are float32 and may be 0 for none; y is float32 where y_float.");
  module.def("linear_dgrad", &linear_dgrad, py::kw_only(), py::arg("dy"), py::arg("weight"), py::arg("mask"),
             py::arg("addend"), py::arg("dx"), py::arg("dx_float"), py::arg("workspace"), py::arg("workspace_bytes"),
             py::arg("shape"), py::arg("pitch"), py::arg("precision"), py::arg("stream"), Unlocked(),
             "dx = addend + dy weight where mask is positive, else 0; mask and addend may be 0 for none.");
  module.def("linear_wgrad", &linear_wgrad, py::kw_only(), py::arg("x"), py::arg("dy"), py::arg("dweight"),
             py::arg("dbias"), py::arg("accumulate"), py::arg("workspace"), py::arg("workspace_bytes"),
             py::arg("shape"), py::arg("pitch"), py::arg("precision"), py::arg("stream"), Unlocked(),
             "dweight (+)= dy^T x and dbias = column sums of dy, both float32; dbias may be 0 for not wanted.");
  module.def("linear_workspace_bytes", &linear_workspace, py::kw_only(), py::arg("direction"), py::arg("shape"),
             py::arg("pitch"), py::arg("precision"),
             "Bytes of workspace that a direction (fprop, dgrad, wgrad) needs.");
  module.def("linear_config", &linear_config, py::kw_only(), py::arg("direction"), py::arg("aligned"), py::arg("force"),
             py::arg("shape"), py::arg("pitch"), py::arg("precision"),
             "Launch choice of a direction, with the reason; force is what ALEXNET_CUDA_FORCE would hold.");
}

}  // namespace alexnet::bindings
