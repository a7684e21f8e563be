#include "ops/sgd.h"

#include "bindings/ops.h"
#include "bindings/sgd.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void sgd(uintptr_t weights, uintptr_t velocity, uintptr_t gradient, uintptr_t copy, uintptr_t learning_rate,
         int64_t count, double rate_factor, double momentum, double weight_decay, double gradient_scale,
         const std::string& dtype, const std::string& copy_dtype, uintptr_t stream) {
  SgdParams params{};
  params.gradient_dtype = parse_dtype(dtype);
  params.copy_dtype = parse_dtype(copy_dtype, "copy_dtype");
  if (copy != 0 && params.copy_dtype == DType::kFloat32) {
    throw std::invalid_argument(
        "copy_dtype is \"float32\", but the master weights are float32 already; expected "
        "bfloat16 or float16, or copy = 0 for no copy");
  }
  params.count = check_count("count", count);
  params.sgd =
      check_sgd("", {weights, velocity, copy, learning_rate, rate_factor, momentum, weight_decay, gradient_scale},
                count, dtype_bytes(params.copy_dtype));
  params.gradient = check_pointer<const void>("gradient", gradient, count, dtype_bytes(params.gradient_dtype));
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
