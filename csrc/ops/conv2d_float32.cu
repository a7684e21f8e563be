#include "ops/conv2d_gemm.cuh"

namespace alexnet {

template struct Conv2dGemm<Precision::kFloat32>;

}  // namespace alexnet
