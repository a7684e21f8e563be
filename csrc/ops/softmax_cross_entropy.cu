#include "ops/softmax_cross_entropy.h"

#include "common/check.h"
#include "common/launch.h"
#include "ops/softmax_cross_entropy.cuh"

namespace alexnet {

void launch_softmax_cross_entropy(const SoftmaxCrossEntropyParams& params, cudaStream_t stream) {
  if (params.rows == 0) return;
  const SoftmaxConfig config = softmax_config(params.rows, params.classes);
  dispatch_dtype(params.dtype, [&](auto type) {
    dispatch_dtype(params.dlogits_dtype, [&](auto dlogits_type) {
      using T = typename decltype(type)::type;
      using D = typename decltype(dlogits_type)::type;
      launch(softmax_cross_entropy_kernel<T, D>, config.grid, config.block, 0, stream,
             static_cast<const T*>(params.logits), params.labels, params.loss, params.correct,
             static_cast<D*>(params.dlogits), params.classes, params.first_column, params.columns, params.scale);
    });
  });
  check_launch("softmax_cross_entropy_kernel");
}

}  // namespace alexnet
