#include "ops/dropout.h"

#include "common/check.h"
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
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch_vector<T>(config.vector, [&](auto vector) {
      launch(dropout_apply_kernel<T, vector()>, config.grid, config.block, 0, stream, static_cast<const T*>(params.x),
             static_cast<T*>(params.y), DropoutMask(params.dropout), params.rows, params.columns);
    });
  });
  check_launch("dropout_apply_kernel");
}

}  // namespace alexnet
