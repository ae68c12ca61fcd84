/* recurrent.h: the slots of a level that carry a state along a sequence. */
#ifndef BT_BACKEND_CPU_X86_RECURRENT_H
#define BT_BACKEND_CPU_X86_RECURRENT_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/simd.h"

#if defined __AVX2__ && defined BT_LEVEL
void LEVEL_NAME(conv)(const struct bt_cpu_conv *c, size_t c0, size_t c1);
void LEVEL_NAME(delta_net)(const struct bt_cpu_recurrence *r, size_t col0, size_t col1);
void LEVEL_NAME(mamba2)(const struct bt_cpu_recurrence *r, size_t col0, size_t col1);
#endif

#endif
