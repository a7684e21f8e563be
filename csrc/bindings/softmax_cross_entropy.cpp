#include "ops/softmax_cross_entropy.h"

#include "bindings/ops.h"
#include "bindings/validate.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

// Each thread writes where it alone reads only where the gradient lies as the logits do.
void check_in_place(const SoftmaxCrossEntropyParams& params) {
  const bool alike = params.dlogits_dtype == params.dtype && params.columns == params.classes;
  if (params.dlogits == nullptr || (alike && params.dlogits == params.logits)) return;
  check_disjoint("dlogits", params.dlogits, params.rows * params.columns * dtype_bytes(params.dlogits_dtype), "logits",
                 params.logits, params.rows * params.classes * dtype_bytes(params.dtype));
}

void softmax_cross_entropy(uintptr_t logits, uintptr_t labels, uintptr_t loss, uintptr_t correct, uintptr_t dlogits,
                           int64_t rows, int64_t classes, double scale, const std::string& dtype, uintptr_t stream,
                           const std::string& dlogits_dtype, int64_t first_column, int64_t columns) {
  SoftmaxCrossEntropyParams params{};
  params.dtype = parse_dtype(dtype);
  params.dlogits_dtype = dlogits_dtype.empty() ? params.dtype : parse_dtype(dlogits_dtype, "dlogits_dtype");
  params.rows = check_size("rows", rows);
  params.classes = check_size("classes", classes, 1);
  params.first_column = check_size("first_column", first_column, 0, classes);
  params.columns = columns == -1 ? classes - first_column : check_size("columns", columns, 0, classes - first_column);
  params.scale = check_finite("scale", scale);
  params.logits = check_pointer<const void>("logits", logits, rows * classes, dtype_bytes(params.dtype));
  params.labels = check_pointer<const int64_t>("labels", labels, rows, sizeof(int64_t));
  params.loss = check_pointer<float>("loss", loss, rows, sizeof(float));
  params.correct = check_pointer<uint8_t>("correct", correct, rows, 1);
  params.dlogits = check_optional<void>("dlogits", dlogits, rows * params.columns, dtype_bytes(params.dlogits_dtype));
  check_in_place(params);
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
             py::arg("scale"), py::arg("dtype"), py::arg("stream"), py::arg("dlogits_dtype") = "",
             py::arg("first_column") = 0, py::arg("columns") = -1, Unlocked(),
             "Per-image loss (float32) and correct (uint8, ties to the first) for int64 labels, and dlogits = scale * "
             "(softmax - onehot), 0 for none; of `columns` columns from first_column on (-1: to the last), in "
             "dlogits_dtype (empty: dtype); it may be logits where it has all columns in the same type.");
  module.def("softmax_cross_entropy_config", &softmax_choice, py::kw_only(), py::arg("rows"), py::arg("classes"),
             "Launch choice of softmax_cross_entropy.");
}

}  // namespace alexnet::bindings
