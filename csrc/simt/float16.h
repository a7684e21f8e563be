// __nv_bfloat16 and __half: storage, and conversions that round to nearest, ties to even.
#pragma once

#include <cstdint>
#include <cstring>

#include "simt/vector_types.h"

namespace alexnet::simt {

template <typename To, typename From>
inline To bit_cast(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  memcpy(&result, &value, sizeof(To));
  return result;
}

inline uint16_t bf16_bits(float value) {
  const uint32_t bits = bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF;  // the NaN that the GPU's conversion gives
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

inline float bf16_value(uint16_t bits) {
  return bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t fp16_bits(float value) {
  const uint32_t bits = bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return 0x7FFF;
  if (magnitude >= 0x477FF000u) return sign | 0x7C00u;  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the result is a multiple of 2^-24: adding 0.5 puts that multiple in the last bits of the sum.
    return sign | static_cast<uint16_t>(bit_cast<uint32_t>(bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u);
  }
  return sign | static_cast<uint16_t>((magnitude - 0x38000000u + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13);
}

inline float fp16_value(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t magnitude = (bits & 0x7FFFu) << 13;
  // The multiplication moves the exponent's bias, and normalises subnormal numbers on the way.
  const uint32_t finite = bit_cast<uint32_t>(bit_cast<float>(magnitude) * 0x1p112f);
  return bit_cast<float>(sign | ((bits & 0x7C00u) == 0x7C00u ? magnitude | 0x7F800000u : finite));
}

}  // namespace alexnet::simt

// Conversions are explicit: arithmetic in these types rounds on a GPU after every operation, and here it would not.
struct __nv_bfloat16 {
  uint16_t bits;
  __nv_bfloat16() = default;
  explicit __nv_bfloat16(float value) : bits(alexnet::simt::bf16_bits(value)) {}
  explicit operator float() const { return alexnet::simt::bf16_value(bits); }
};

struct __half {
  uint16_t bits;
  __half() = default;
  explicit __half(float value) : bits(alexnet::simt::fp16_bits(value)) {}
  explicit operator float() const { return alexnet::simt::fp16_value(bits); }
};

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

struct alignas(4) __half2 {
  __half x, y;
};

inline float __bfloat162float(__nv_bfloat16 value) {
  return static_cast<float>(value);
}
inline __nv_bfloat16 __float2bfloat16(float value) {
  return __nv_bfloat16(value);
}
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  return __nv_bfloat16(value);
}
inline float __half2float(__half value) {
  return static_cast<float>(value);
}
inline __half __float2half(float value) {
  return __half(value);
}
inline __half __float2half_rn(float value) {
  return __half(value);
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
inline __nv_bfloat162 __float22bfloat162_rn(float2 value) {
  return __floats2bfloat162_rn(value.x, value.y);
}
inline float2 __bfloat1622float2(__nv_bfloat162 value) {
  return {static_cast<float>(value.x), static_cast<float>(value.y)};
}
inline __half2 __floats2half2_rn(float x, float y) {
  return {__half(x), __half(y)};
}
inline __half2 __float22half2_rn(float2 value) {
  return __floats2half2_rn(value.x, value.y);
}
inline float2 __half22float2(__half2 value) {
  return {static_cast<float>(value.x), static_cast<float>(value.y)};
}
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) {
  return value.bits;
}
inline unsigned short __half_as_ushort(__half value) {
  return value.bits;
}
