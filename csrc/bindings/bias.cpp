#include "ops/bias.h"

#include <pybind11/stl.h>

#include "bindings/ops.h"
#include "bindings/tensor.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void bias_bprop(const Tensor& dy, const Tensor& dbias, const OptionalTensor& workspace, uintptr_t stream) {
  BiasBpropParams params{};
  params.dtype = dy.floating();
  params.rows = dy.rows();
  params.columns = check_size("the columns of dy", dy.columns());
  params.dy = dy.data<const void>(16);
  params.dbias = dbias.of_shape({params.columns}).data<float>();
  const ColumnSumConfig config = column_sum_config({params.rows, params.columns, dtype_bytes(params.dtype)});
  params.workspace = check_workspace<float>(workspace, 4 * column_sum_workspace_floats(config, params.columns));
  launch_bias_bprop(params, to_stream(stream));
}

py::dict column_sum_choice(int64_t rows, int64_t columns, const std::string& dtype) {
  check_matrix(rows, "columns", columns);
  const ColumnSumConfig config = column_sum_config({rows, columns, dtype_bytes(parse_dtype(dtype))});
  return py::dict("vector"_a = config.vector, "block_columns"_a = config.block_columns,
                  "block_rows"_a = config.block_rows, "grid"_a = config.grid, "splits"_a = config.splits,
                  "rows_per_split"_a = config.rows_per_split,
                  "workspace_floats"_a = column_sum_workspace_floats(config, columns));
}

}  // namespace

void bind_bias(py::module_& module) {
  bind_launch(module, "bias_bprop", &bias_bprop,
              "dbias = column sums of dy, float32, in a fixed order; workspace holds workspace_floats floats.", "dy"_a,
              "dbias"_a, "workspace"_a);
  module.def("bias_bprop_config", &column_sum_choice, py::kw_only(), "rows"_a, "columns"_a, "dtype"_a,
             "Launch choice of bias_bprop, and the floats of its workspace.");
}

}  // namespace alexnet::bindings
