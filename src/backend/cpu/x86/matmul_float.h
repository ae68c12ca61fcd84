/* matmul_float.h: the float matrix product of a level: the slot and the scratch memory that it needs. */
#ifndef BT_BACKEND_CPU_X86_MATMUL_FLOAT_H
#define BT_BACKEND_CPU_X86_MATMUL_FLOAT_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/simd.h"

#if defined __AVX2__ && defined BT_LEVEL
void LEVEL_NAME(matmul_float)(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch);
size_t LEVEL_NAME(matmul_float_scratch)(size_t k_max);
#endif

#endif
