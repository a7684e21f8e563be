#include "ops/dropout.h"

#include "common/check.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/dropout.cuh"

namespace alexnet {

void launch_dropout_apply(const DropoutParams& params, cudaStream_t stream) {
  if (params.rows == 0 || params.columns == 0) return;
  const int bytes = dtype_bytes(params.dtype);
  const bool whole_blocks = params.columns % (16 / bytes) == 0 && params.start % 4 == 0 && params.row_stride % 4 == 0;
  const ElementwiseConfig config =
      elementwise_config({params.rows * params.columns, bytes, whole_blocks && aligned16({params.x, params.y})});
  const DropoutMask mask{
      params.seed,  params.purpose,   dropout_threshold(params.rate), static_cast<float>(1.0 / (1.0 - params.rate)),
      params.start, params.row_stride};
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch_vector<T>(config.vector, [&](auto vector) {
      launch(dropout_apply_kernel<T, vector()>, config.grid, config.block, 0, stream, static_cast<const T*>(params.x),
             static_cast<T*>(params.y), params.step, mask, params.rows, params.columns);
    });
  });
  check_launch("dropout_apply_kernel");
}

}  // namespace alexnet
