#include "ops/bias.h"

#include "common/dispatch.h"
#include "common/launch.h"
#include "ops/bias.cuh"

namespace alexnet {
namespace {

void launch_column_sum(const ColumnSumConfig& config, DType dtype, const void* x, float* sums, int64_t rows,
                       int64_t columns, cudaStream_t stream) {
  const dim3 grid(config.grid, config.splits);
  const dim3 block(config.block_columns, config.block_rows);
  dispatch(config.vector, dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    launch<column_sum_kernel<T, vector()>>(grid, block, 0, stream, x, sums, rows, columns, config.rows_per_split);
  });
}

}  // namespace

void launch_bias_bprop(const BiasBpropParams& params, cudaStream_t stream) {
  if (params.columns == 0) return;
  const ColumnSumConfig first = column_sum_config({params.rows, params.columns, dtype_bytes(params.dtype)});
  if (first.splits == 1) {
    return launch_column_sum(first, params.dtype, params.dy, params.dbias, params.rows, params.columns, stream);
  }
  launch_column_sum(first, params.dtype, params.dy, params.workspace, params.rows, params.columns, stream);
  const ColumnSumConfig second = column_sum_config({first.splits, params.columns, 4}, 1);
  launch_column_sum(second, DType::kFloat32, params.workspace, params.dbias, first.splits, params.columns, stream);
}

}  // namespace alexnet
