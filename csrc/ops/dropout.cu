#include "ops/dropout.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/dropout.cuh"

namespace alexnet {

void launch_dropout_apply(const DropoutParams& params, cudaStream_t stream) {
  if (params.rows == 0 || params.columns == 0) return;
  const int bytes = dtype_bytes(params.dtype);
  const bool vectors =
      params.columns % (16 / bytes) == 0 && params.dropout.vectors() && aligned16({params.x, params.y});
  const ElementwiseConfig config =
      elementwise_config({params.rows * params.columns, bytes, vectors}, current_machine());
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    launch<dropout_apply_kernel<T, vector()>>(config.grid, config.block, 0, stream, params.x, params.y,
                                              DropoutMask(params.dropout), params.rows, params.columns);
  });
}

}  // namespace alexnet
