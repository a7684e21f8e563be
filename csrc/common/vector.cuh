// Device side of kernels that move a few neighbouring elements of any power-of-two size at once.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/elementwise.cuh"

namespace alexnet {

template <int kBytes>
struct Word {
  static_assert(kBytes % 16 == 0, "a vector has 1, 2, 4, 8 or a multiple of 16 bytes");
  using type = uint4;
};
template <>
struct Word<1> {
  using type = uint8_t;
};
template <>
struct Word<2> {
  using type = uint16_t;
};
template <>
struct Word<4> {
  using type = uint32_t;
};
template <>
struct Word<8> {
  using type = uint2;
};

// Reads kCount elements in one access, or in as many of 16 bytes as they make; the address is a multiple of an access.
template <int kCount, typename T>
__device__ inline Pack<T, kCount> load_vector(const T* source) {
  using Access = typename Word<kCount * sizeof(T)>::type;
  constexpr int kAccesses = kCount * sizeof(T) / sizeof(Access);
  Access raw[kAccesses];
#pragma unroll
  for (int i = 0; i < kAccesses; ++i) raw[i] = reinterpret_cast<const Access*>(source)[i];
  Pack<T, kCount> pack;
  memcpy(&pack, raw, sizeof(raw));
  return pack;
}

template <int kCount, typename T>
__device__ inline void store_vector(T* target, const Pack<T, kCount>& pack) {
  using Access = typename Word<kCount * sizeof(T)>::type;
  constexpr int kAccesses = kCount * sizeof(T) / sizeof(Access);
  Access raw[kAccesses];
  memcpy(raw, &pack, sizeof(raw));
#pragma unroll
  for (int i = 0; i < kAccesses; ++i) reinterpret_cast<Access*>(target)[i] = raw[i];
}

// Rounds kCount numbers to T and writes them.
template <int kCount, typename T>
__device__ inline void store_rounded(T* target, const float (&value)[kCount]) {
  Pack<T, kCount> pack;
#pragma unroll
  for (int i = 0; i < kCount; ++i) pack.value[i] = from_float<T>(value[i]);
  store_vector(target, pack);
}

}  // namespace alexnet
