/* attn.h: the attention of a level: the slot and the scratch memory that it needs. */
#ifndef BT_BACKEND_CPU_X86_ATTN_H
#define BT_BACKEND_CPU_X86_ATTN_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/simd.h"

#if defined __AVX2__ && defined BT_LEVEL
enum { ATTN_TILE = 32 };
void LEVEL_NAME(attention)(const struct bt_cpu_attn *a, uint32_t head, size_t q0, size_t q1, void *scratch);
void LEVEL_NAME(attention_split)(const struct bt_cpu_attn *a, uint32_t head, size_t q, size_t split, float *part,
                                 void *scratch);
void LEVEL_NAME(attention_join)(const struct bt_cpu_attn *a, uint32_t head, size_t q, const float *part, void *scratch);
size_t LEVEL_NAME(attention_scratch)(size_t d_max);
#endif

#endif
