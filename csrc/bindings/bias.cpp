#include "ops/bias.h"

#include "bindings/ops.h"
#include "bindings/validate.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void bias_fprop(uintptr_t x, uintptr_t bias, uintptr_t y, int64_t rows, int64_t columns, const std::string& dtype,
                uintptr_t stream) {
  BiasFpropParams params{};
  params.dtype = parse_dtype(dtype);
  const int64_t count = check_matrix(rows, "columns", columns);
  params.rows = rows;
  params.columns = columns;
  const int bytes = dtype_bytes(params.dtype);
  params.x = check_pointer<const void>("x", x, count, bytes);
  params.bias = check_pointer<const float>("bias", bias, rows > 0 ? columns : 0, sizeof(float));
  params.y = check_pointer<void>("y", y, count, bytes);
  launch_bias_fprop(params, to_stream(stream));
}

void bias_bprop(uintptr_t dy, uintptr_t dbias, uintptr_t workspace, int64_t rows, int64_t columns,
                const std::string& dtype, uintptr_t stream) {
  BiasBpropParams params{};
  params.dtype = parse_dtype(dtype);
  const int64_t count = check_matrix(rows, "columns", columns);
  params.rows = rows;
  params.columns = columns;
  params.dy = check_pointer<const void>("dy", dy, count, dtype_bytes(params.dtype), 16);
  params.dbias = check_pointer<float>("dbias", dbias, columns, sizeof(float));
  const ColumnSumConfig config = column_sum_config({rows, columns, dtype_bytes(params.dtype)});
  params.workspace =
      check_pointer<float>("workspace", workspace, column_sum_workspace_floats(config, columns), sizeof(float), 16);
  launch_bias_bprop(params, to_stream(stream));
}

py::dict column_sum_choice(int64_t rows, int64_t columns, const std::string& dtype) {
  check_matrix(rows, "columns", columns);
  const ColumnSumConfig config = column_sum_config({rows, columns, dtype_bytes(parse_dtype(dtype))});
  py::dict result;
  result["vector"] = config.vector;
  result["block_columns"] = config.block_columns;
  result["block_rows"] = config.block_rows;
  result["grid"] = config.grid;
  result["splits"] = config.splits;
  result["rows_per_split"] = config.rows_per_split;
  result["workspace_floats"] = column_sum_workspace_floats(config, columns);
  return result;
}

}  // namespace

void bind_bias(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("bias_fprop", &bias_fprop, py::kw_only(), py::arg("x"), py::arg("bias"), py::arg("y"), py::arg("rows"),
             py::arg("columns"), py::arg("dtype"), py::arg("stream"), Unlocked(),
             "y = x + bias over the columns; bias is float32; y may be x.");
  module.def("bias_bprop", &bias_bprop, py::kw_only(), py::arg("dy"), py::arg("dbias"), py::arg("workspace"),
             py::arg("rows"), py::arg("columns"), py::arg("dtype"), py::arg("stream"), Unlocked(),
             "dbias = column sums of dy, float32, in a fixed order; workspace holds workspace_floats floats.");
  module.def("bias_bprop_config", &column_sum_choice, py::kw_only(), py::arg("rows"), py::arg("columns"),
             py::arg("dtype"), "Launch choice of bias_bprop, and the floats of its workspace.");
}

}  // namespace alexnet::bindings
