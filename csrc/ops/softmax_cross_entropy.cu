#include "ops/softmax_cross_entropy.h"

#include "common/dispatch.h"
#include "common/launch.h"
#include "ops/softmax_cross_entropy.cuh"

namespace alexnet {

void launch_softmax_cross_entropy(const SoftmaxCrossEntropyParams& params, cudaStream_t stream) {
  if (params.rows == 0) return;
  const SoftmaxConfig config = softmax_config(params.rows, params.classes);
  dispatch_dtype(params.dtype, params.dlogits_dtype, [&](auto type, auto dlogits_type) {
    using T = typename decltype(type)::type;
    using D = typename decltype(dlogits_type)::type;
    launch<softmax_cross_entropy_kernel<T, D>>(config.grid, config.block, 0, stream, params.logits, params.labels,
                                               params.loss, params.correct, params.dlogits, params.classes,
                                               params.first_column, params.columns, params.scale);
  });
}

}  // namespace alexnet
