// CUDA's built-in vector types, with CUDA's alignments.
#pragma once

#include <cstdint>

#define ALEXNET_SIMT_VECTOR(element, name, align1, align2, align4)            \
  struct alignas(align1) name##1 {                                            \
    element x;                                                                \
  };                                                                          \
  struct alignas(align2) name##2 {                                            \
    element x, y;                                                             \
  };                                                                          \
  struct name##3 {                                                            \
    element x, y, z;                                                          \
  };                                                                          \
  struct alignas(align4) name##4 {                                            \
    element x, y, z, w;                                                       \
  };                                                                          \
  inline name##1 make_##name##1(element x) {                                  \
    return {x};                                                               \
  }                                                                           \
  inline name##2 make_##name##2(element x, element y) {                       \
    return {x, y};                                                            \
  }                                                                           \
  inline name##3 make_##name##3(element x, element y, element z) {            \
    return {x, y, z};                                                         \
  }                                                                           \
  inline name##4 make_##name##4(element x, element y, element z, element w) { \
    return {x, y, z, w};                                                      \
  }

ALEXNET_SIMT_VECTOR(signed char, char, 1, 2, 4)
ALEXNET_SIMT_VECTOR(unsigned char, uchar, 1, 2, 4)
ALEXNET_SIMT_VECTOR(short, short, 2, 4, 8)
ALEXNET_SIMT_VECTOR(unsigned short, ushort, 2, 4, 8)
ALEXNET_SIMT_VECTOR(int, int, 4, 8, 16)
ALEXNET_SIMT_VECTOR(unsigned int, uint, 4, 8, 16)
ALEXNET_SIMT_VECTOR(float, float, 4, 8, 16)
ALEXNET_SIMT_VECTOR(long long, longlong, 8, 16, 16)
ALEXNET_SIMT_VECTOR(unsigned long long, ulonglong, 8, 16, 16)
ALEXNET_SIMT_VECTOR(double, double, 8, 16, 16)

#undef ALEXNET_SIMT_VECTOR

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_) {}
};
