#include "ops/sgd.h"

#include "bindings/ops.h"
#include "bindings/sgd.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void sgd(const SgdOptions& sgd, const Tensor& weights, const Tensor& velocity, const OptionalTensor& copy,
         const Tensor& learning_rate, const Tensor& gradient, uintptr_t stream) {
  SgdParams params{};
  params.gradient_dtype = gradient.floating();
  params.copy_dtype = copy ? copy->floating() : DType::kBFloat16;
  params.count = weights.of_pitch(0).count();
  params.sgd = check_sgd(sgd, weights, velocity, copy, learning_rate);
  params.gradient = gradient.of_shape(weights.shape).data<const void>();
  launch_sgd(params, to_stream(stream));
}

}  // namespace

void bind_sgd(py::module_& module) {
  bind_launch(
      module, "sgd", &sgd,
      "v = momentum * v - lr * (weight_decay * w + gradient_scale * g); w = w + v; copy = w in its 16-bit type; "
      "lr = rate_factor * learning_rate, a float32 in device memory.",
      "sgd"_a, "weights"_a, "velocity"_a, "copy"_a, "learning_rate"_a, "gradient"_a);
}

}  // namespace alexnet::bindings
