#include "ops/softmax_cross_entropy.h"

#include "bindings/ops.h"
#include "bindings/validate.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void softmax_cross_entropy(uintptr_t logits, uintptr_t labels, uintptr_t loss, uintptr_t correct, uintptr_t dlogits,
                           int64_t rows, int64_t classes, double scale, const std::string& dtype, uintptr_t stream) {
  SoftmaxCrossEntropyParams params{};
  params.dtype = parse_dtype(dtype);
  params.rows = check_size("rows", rows);
  params.classes = check_size("classes", classes, 1);
  params.scale = check_finite("scale", scale);
  const int bytes = dtype_bytes(params.dtype);
  params.logits = check_pointer<const void>("logits", logits, rows * classes, bytes);
  params.labels = check_pointer<const int64_t>("labels", labels, rows, sizeof(int64_t));
  params.loss = check_pointer<float>("loss", loss, rows, sizeof(float));
  params.correct = check_pointer<uint8_t>("correct", correct, rows, 1);
  params.dlogits = check_pointer<void>("dlogits", dlogits, 0, bytes);
  launch_softmax_cross_entropy(params, to_stream(stream));
}

py::dict softmax_choice(int64_t rows, int64_t classes) {
  const SoftmaxConfig config = softmax_config(check_size("rows", rows), check_size("classes", classes, 1));
  py::dict result;
  result["block"] = config.block;
  result["grid"] = config.grid;
  return result;
}

}  // namespace

void bind_softmax_cross_entropy(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("softmax_cross_entropy", &softmax_cross_entropy, py::kw_only(), py::arg("logits"), py::arg("labels"),
             py::arg("loss"), py::arg("correct"), py::arg("dlogits"), py::arg("rows"), py::arg("classes"),
             py::arg("scale"), py::arg("dtype"), py::arg("stream"), Unlocked(),
             "Per-image loss (float32) and correct (uint8, ties to the first) for int64 labels, and dlogits = scale * "
             "(softmax - onehot), which may be logits or 0 for none.");
  module.def("softmax_cross_entropy_config", &softmax_choice, py::kw_only(), py::arg("rows"), py::arg("classes"),
             "Launch choice of softmax_cross_entropy.");
}

}  // namespace alexnet::bindings
