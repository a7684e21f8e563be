// The vectors of the instruction set that this file is compiled for, and the register tile that fits it. Every file
// that includes this is compiled once for each set (cmake/cpu.cmake), with ALEXNET_CPU_ISA naming it, so everything
// here lives in a namespace of that name: one set's code never stands in for another's.
//
// A tile of C is kRows x kColumns sums in registers: of 32 vector registers 28 are sums, two hold a line of B and the
// rest broadcasts of A. A sum adds its products one after the other whatever the tile, so a result's bits depend on the
// order of the products alone: they are the same for every set that has fused multiply-adds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define ALEXNET_CPU_LANES 16
#define ALEXNET_CPU_ROWS 14
#elif defined(__AVX2__)
#define ALEXNET_CPU_LANES 8
#define ALEXNET_CPU_ROWS 6
#elif defined(__aarch64__)
#define ALEXNET_CPU_LANES 4
#define ALEXNET_CPU_ROWS 12
#else
#define ALEXNET_CPU_LANES 4
#define ALEXNET_CPU_ROWS 6
#endif

namespace alexnet::cpu::ALEXNET_CPU_ISA {

constexpr int kLanes = ALEXNET_CPU_LANES;
constexpr int kRows = ALEXNET_CPU_ROWS;
constexpr int kVectors = 2;
constexpr int kColumns = kLanes * kVectors;

typedef float Vector __attribute__((vector_size(4 * ALEXNET_CPU_LANES)));
typedef int32_t Mask __attribute__((vector_size(4 * ALEXNET_CPU_LANES)));

inline Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vector v) {
  std::memcpy(p, &v, sizeof v);
}
inline Vector broadcast(float x) {
  return x - Vector{};
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
