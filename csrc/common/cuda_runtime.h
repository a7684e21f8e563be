// The CUDA runtime, or under ALEXNET_CUDA_SIMT the CPU executor that stands in for it. Nothing else includes either.
// Under ALEXNET_HOST_ONLY neither: the bindings see launch choices and launch functions alone, so that they are
// compiled once and linked into `_cuda` and `_simt` alike. Device code in headers that they read is left out for them.
#pragma once

#if defined(ALEXNET_HOST_ONLY)
using cudaStream_t = struct CUstream_st*;
#define __host__
#define __device__
#elif defined(ALEXNET_CUDA_SIMT)
#include "simt/runtime.h"
#else
#include <cuda_runtime.h>

namespace alexnet {
template <typename T>
using SharedType = T;
}  // namespace alexnet

// Static shared memory of a block, aligned to 16 bytes: ALEXNET_SHARED(float[32][33], tile). The executor hands it out
// poisoned and guarded, which it cannot do for a plain __shared__ variable.
#define ALEXNET_SHARED(type, name) __shared__ __align__(16)::alexnet::SharedType<type> name

// Dynamic shared memory of the launch, as `type* name`; bytes so that kernels of different types agree on the symbol.
#define ALEXNET_DYNAMIC_SHARED(type, name)                                       \
  extern __shared__ __align__(128) unsigned char alexnet_dynamic_shared_bytes[]; \
  type* const name = reinterpret_cast<type*>(alexnet_dynamic_shared_bytes)
#endif
