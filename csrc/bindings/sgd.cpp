#include "ops/sgd.h"

#include "bindings/ops.h"
#include "bindings/validate.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void sgd(uintptr_t weights, uintptr_t velocity, uintptr_t gradient, uintptr_t copy, uintptr_t learning_rate,
         int64_t count, double rate_factor, double momentum, double weight_decay, double gradient_scale,
         const std::string& dtype, const std::string& copy_dtype, uintptr_t stream) {
  SgdParams params{};
  params.gradient_dtype = parse_dtype(dtype);
  params.copy_dtype = parse_dtype(copy_dtype);
  if (copy != 0 && params.copy_dtype == DType::kFloat32) {
    throw std::invalid_argument(
        "copy_dtype is \"float32\", but the master weights are float32 already; expected "
        "bfloat16 or float16, or copy = 0 for no copy");
  }
  params.count = check_count("count", count);
  params.rate_factor = check_finite("rate_factor", rate_factor);
  params.momentum = check_finite("momentum", momentum, 0.0);
  params.weight_decay = check_finite("weight_decay", weight_decay, 0.0);
  params.gradient_scale = check_finite("gradient_scale", gradient_scale);
  params.weights = check_pointer<float>("weights", weights, count, sizeof(float));
  params.velocity = check_pointer<float>("velocity", velocity, count, sizeof(float));
  params.gradient = check_pointer<const void>("gradient", gradient, count, dtype_bytes(params.gradient_dtype));
  params.copy = check_pointer<void>("copy", copy, 0, dtype_bytes(params.copy_dtype));
  params.learning_rate = check_pointer<const float>("learning_rate", learning_rate, count > 0 ? 1 : 0, sizeof(float));
  launch_sgd(params, to_stream(stream));
}

}  // namespace

void bind_sgd(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("sgd", &sgd, py::kw_only(), py::arg("weights"), py::arg("velocity"), py::arg("gradient"), py::arg("copy"),
             py::arg("learning_rate"), py::arg("count"), py::arg("rate_factor"), py::arg("momentum"),
             py::arg("weight_decay"), py::arg("gradient_scale"), py::arg("dtype"), py::arg("copy_dtype"),
             py::arg("stream"), Unlocked(),
             "v = momentum * v - lr * (weight_decay * w + gradient_scale * g); w = w + v; copy = w in copy_dtype, or 0 "
             "for none; dtype is the gradient's; lr = rate_factor * the float32 that learning_rate points to.");
}

}  // namespace alexnet::bindings
