#include "ops/softmax_cross_entropy.h"

#include <pybind11/stl.h>

#include "bindings/ops.h"
#include "bindings/tensor.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void softmax_cross_entropy(const Tensor& logits, const Tensor& labels, const Tensor& loss, const Tensor& correct,
                           const OptionalTensor& dlogits, int64_t first_column, double scale, uintptr_t stream) {
  SoftmaxCrossEntropyParams params{};
  params.dtype = params.dlogits_dtype = logits.floating();
  params.rows = check_size("the rows of logits", logits.rows());
  params.classes = check_size("the columns of logits", logits.columns(), 1);
  params.first_column = check_size("first_column", first_column, 0, params.classes);
  params.scale = check_finite("scale", scale);
  params.logits = logits.data<const void>();
  params.labels = labels.of_shape({params.rows}).data<const int64_t>();
  params.loss = loss.of_shape({params.rows}).data<float>();
  params.correct = correct.of_shape({params.rows}).data<uint8_t>();
  if (dlogits) {
    params.dlogits_dtype = dlogits->floating();
    params.columns = check_size("the columns of dlogits", dlogits->columns(), 0, params.classes - first_column);
    params.dlogits = dlogits->of_shape({params.rows, params.columns}).data<void>();
    // Each thread writes where it alone reads only where the gradient lies as the logits do.
    const bool alike = dlogits->dtype == logits.dtype && dlogits->shape == logits.shape;
    if (!alike || dlogits->address != logits.address) check_disjoint(*dlogits, logits);
  }
  launch_softmax_cross_entropy(params, to_stream(stream));
}

py::dict softmax_choice(int64_t rows, int64_t classes) {
  const SoftmaxConfig config = softmax_config(check_size("rows", rows), check_size("classes", classes, 1));
  return py::dict("block"_a = config.block, "grid"_a = config.grid);
}

}  // namespace

void bind_softmax_cross_entropy(py::module_& module) {
  bind_launch(module, "softmax_cross_entropy", &softmax_cross_entropy,
              "Per-image loss (float32) and correct (uint8 or bool, ties to the first) for int64 labels, and dlogits = "
              "scale * (softmax - onehot) of its columns from first_column on, None: not wanted; it may be logits "
              "where it has all columns in the same type.",
              "logits"_a, "labels"_a, "loss"_a, "correct"_a, "dlogits"_a, "first_column"_a, "scale"_a);
  module.def("softmax_cross_entropy_config", &softmax_choice, py::kw_only(), "rows"_a, "classes"_a,
             "Launch choice of softmax_cross_entropy.");
}

}  // namespace alexnet::bindings
