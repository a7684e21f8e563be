#include "ops/copy.h"

#include "common/dispatch.h"
#include "common/launch.h"
#include "ops/copy.cuh"

namespace alexnet {

void launch_copy_columns(const CopyColumnsParams& params, cudaStream_t stream) {
  if (params.rows == 0 || params.columns == 0) return;
  const CopyProblem problem{params.rows,
                            params.columns,
                            params.x_pitch,
                            params.addend == nullptr ? params.x_pitch : params.addend_pitch,
                            params.y_pitch,
                            dtype_bytes(params.x_dtype),
                            dtype_bytes(params.y_dtype),
                            aligned16({params.x, params.addend, params.y})};
  const ElementwiseConfig config = copy_config(problem, current_machine());
  const bool dense = copy_is_dense(problem);
  const int64_t rows = dense ? 1 : params.rows;
  const int64_t columns = dense ? params.rows * params.columns : params.columns;
  const CopyPitches pitch{params.x_pitch, params.addend_pitch, params.y_pitch};
  dispatch(config.vector, params.x_dtype, params.y_dtype, [&](auto vector, auto x_type, auto y_type) {
    using X = typename decltype(x_type)::type;
    using Y = typename decltype(y_type)::type;
    launch<copy_columns_kernel<X, Y, vector()>>(config.grid, config.block, 0, stream, params.x, params.addend, params.y,
                                                pitch, rows, columns);
  });
}

}  // namespace alexnet
