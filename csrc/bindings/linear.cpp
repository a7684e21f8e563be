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
                  const Pitches& pitch, const std::string& precision, uintptr_t stream, double dropout_rate,
                  uint64_t dropout_seed, uint32_t dropout_purpose, uintptr_t dropout_step, int64_t dropout_start,
                  int64_t dropout_row_stride) {
  LinearFpropParams params{};
  params.problem = to_linear_problem(shape, pitch, precision);
  const Conv2dArguments checked(linear_as_conv2d(params.problem));
  params.x = checked.x("x", x);
  params.weight = checked.weight("weight", weight);
  params.bias = checked.bias("bias", bias);
  params.addend = checked.y_addend(addend);
  params.y = checked.y("y", y, y_float);
  params.y_float = y_float;
  params.activation = parse_activation(activation);
  params.dropout =
      checked.dropout({dropout_rate, dropout_seed, dropout_purpose, dropout_step, dropout_start, dropout_row_stride});
  params.workspace = checked.workspace(Direction::kFprop, workspace, workspace_bytes);
  launch_linear_fprop(params, to_stream(stream));
}

void linear_dgrad(uintptr_t dy, uintptr_t weight, uintptr_t mask, uintptr_t addend, uintptr_t dx, bool dx_float,
                  uintptr_t workspace, int64_t workspace_bytes, const LinearSizes& shape, const Pitches& pitch,
                  const std::string& precision, uintptr_t stream, double mask_scale) {
  LinearDgradParams params{};
  params.problem = to_linear_problem(shape, pitch, precision);
  const Conv2dArguments checked(linear_as_conv2d(params.problem));
  params.dy = checked.y("dy", dy);
  params.weight = checked.weight("weight", weight);
  if (mask != 0) params.mask = checked.x("mask", mask);
  params.mask_scale = checked.mask_scale(mask_scale, mask);
  params.addend = checked.x_addend(addend);
  params.dx = checked.x("dx", dx, dx_float);
  params.dx_float = dx_float;
  params.workspace = checked.workspace(Direction::kDgrad, workspace, workspace_bytes);
  launch_linear_dgrad(params, to_stream(stream));
}

void linear_wgrad(uintptr_t x, uintptr_t dy, uintptr_t dweight, uintptr_t dbias, bool accumulate, uintptr_t workspace,
                  int64_t workspace_bytes, const LinearSizes& shape, const Pitches& pitch, const std::string& precision,
                  uintptr_t stream, uintptr_t sgd_weights, uintptr_t sgd_velocity, uintptr_t sgd_copy,
                  uintptr_t sgd_learning_rate, double sgd_rate_factor, double sgd_momentum, double sgd_weight_decay,
                  double sgd_gradient_scale) {
  LinearWgradParams params{};
  params.problem = to_linear_problem(shape, pitch, precision);
  const Conv2dArguments checked(linear_as_conv2d(params.problem));
  params.x = checked.x("x", x);
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
  launch_linear_wgrad(params, to_stream(stream));
}

py::dict linear_config(const std::string& direction, bool aligned, const std::string& force, const LinearSizes& shape,
                       const Pitches& pitch, const std::string& precision, int64_t multiprocessors,
                       int64_t multiprocessor_bytes) {
  return describe_choice(linear_as_conv2d(to_linear_problem(shape, pitch, precision)), parse_direction(direction),
                         aligned, force, check_machine(multiprocessors, multiprocessor_bytes));
}

int64_t linear_workspace(const std::string& direction, const LinearSizes& shape, const Pitches& pitch,
                         const std::string& precision) {
  return linear_workspace_bytes(to_linear_problem(shape, pitch, precision), parse_direction(direction));
}

}  // namespace

void bind_linear(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("linear_fprop", &linear_fprop, py::kw_only(), py::arg("x"), py::arg("weight"), py::arg("bias"),
             py::arg("addend"), py::arg("y"), py::arg("y_float"), py::arg("activation"), py::arg("workspace"),
             py::arg("workspace_bytes"), py::arg("shape"), py::arg("pitch"), py::arg("precision"), py::arg("stream"),
             py::arg("dropout_rate") = 0.0, py::arg("dropout_seed") = 0, py::arg("dropout_purpose") = 0,
             py::arg("dropout_step") = 0, py::arg("dropout_start") = 0, py::arg("dropout_row_stride") = 0, Unlocked(),
             "y = dropout(activation(addend + bias + x weight^T)). shape is rows, in, out; pitch is that of x, y and "
             "weight, 0 for dense; bias and addend are float32 and may be 0 for none; y is float32 where y_float. "
             "Dropout as dropout_apply of the matrix [rows, out], before y is rounded; dropout_step 0: none.");
  module.def(
      "linear_dgrad", &linear_dgrad, py::kw_only(), py::arg("dy"), py::arg("weight"), py::arg("mask"),
      py::arg("addend"), py::arg("dx"), py::arg("dx_float"), py::arg("workspace"), py::arg("workspace_bytes"),
      py::arg("shape"), py::arg("pitch"), py::arg("precision"), py::arg("stream"), py::arg("mask_scale") = 1.0,
      Unlocked(),
      "dx = mask_scale * (addend + dy weight) where mask is positive, else 0; mask and addend may be 0 for none.");
  module.def("linear_wgrad", &linear_wgrad, py::kw_only(), py::arg("x"), py::arg("dy"), py::arg("dweight"),
             py::arg("dbias"), py::arg("accumulate"), py::arg("workspace"), py::arg("workspace_bytes"),
             py::arg("shape"), py::arg("pitch"), py::arg("precision"), py::arg("stream"), py::arg("sgd_weights") = 0,
             py::arg("sgd_velocity") = 0, py::arg("sgd_copy") = 0, py::arg("sgd_learning_rate") = 0,
             py::arg("sgd_rate_factor") = 1.0, py::arg("sgd_momentum") = 0.0, py::arg("sgd_weight_decay") = 0.0,
             py::arg("sgd_gradient_scale") = 1.0, Unlocked(),
             "dweight (+)= dy^T x and dbias = column sums of dy, both float32; dbias may be 0 for not wanted. With "
             "sgd_weights also what sgd does with dweight, which may then be 0; sgd_copy is of the precision's 16-bit "
             "type.");
  module.def("linear_workspace_bytes", &linear_workspace, py::kw_only(), py::arg("direction"), py::arg("shape"),
             py::arg("pitch"), py::arg("precision"),
             "Bytes of workspace that a direction (fprop, dgrad, wgrad) needs.");
  module.def("linear_config", &linear_config, py::kw_only(), py::arg("direction"), py::arg("aligned"), py::arg("force"),
             py::arg("shape"), py::arg("pitch"), py::arg("precision"),
             py::arg("multiprocessors") = kReferenceMachine.multiprocessors,
             py::arg("multiprocessor_bytes") = kReferenceMachine.shared_bytes,
             "Launch choice of a direction, with the reason; as conv2d_config.");
}

}  // namespace alexnet::bindings
