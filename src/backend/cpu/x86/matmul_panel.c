/* matmul_panel.c: unpacking PANEL rows of weights into a panel. */
#include "backend/cpu/x86/matmul_int.h"
#include "backend/cpu/x86/unpack.h"

void LEVEL_NAME(unpack_any)(const struct bt_type *type, const struct int_class *c, const uint8_t *p0, const uint8_t *p1,
                            size_t n0, size_t n1, struct eight *e)
{
	int8_t q[ROWS][256];
	float scale[ROWS][16], min[ROWS][16], s[2][16], m[2][16];
	memset(q, 0, sizeof q);
	memset(scale, 0, sizeof scale);
	memset(min, 0, sizeof min);
	for (int r = 0; r < ROWS; r++)
		type->unpack_i8(r ? p1 : p0, q[r], scale[r], type->has_min ? min[r] : NULL, 32 * (r ? n1 : n0));
	int groups = type->group == 16 ? 2 : 1;
	for (int i = 0; i < 8 * ROWS; i++)
		for (int g = 0; g < groups; g++) {
			s[g][i] = scale[i / 8][i % 8 * groups + g];
			m[g][i] = min[i / 8][i % 8 * groups + g];
		}
	vi offset = bytes(c->has_offset ? 1 << c->shift : 0);
	for (int b = 0; b < 8; b++)
		e->q[b] = VI(add_epi8)(load32((uint8_t *)q[0] + 32 * b, (uint8_t *)q[ROWS - 1] + 32 * b), offset);
	for (int g = 0; g < groups; g++) {
		e->scale[g] = VF(loadu_ps)(s[g]);
		e->min[g] = VF(loadu_ps)(m[g]);
	}
}

INLINE void store_panel(const struct eight e[8], bool two, bool has_min, size_t group, size_t n_blocks,
                        const size_t start[8], uint8_t *panel)
{
	const size_t groups = two ? 2 : 1, record = (size_t)PANEL * (32 + 4 * groups * (has_min ? 2 : 1));
	vi in[8], out[8];
	uint8_t *at[8];
	size_t n = n_blocks - 8 * group < 8 ? n_blocks - 8 * group : 8;
	for (size_t b = 0; b < n; b++) {
		at[b] = panel + (start[b] + group) * record;
		UNROLL
		for (int i = 0; i < 8; i++) in[i] = e[i].q[b];
		transpose(in, out);
		UNROLL
		for (int i = 0; i < 8; i++) VI_STORE(at[b] + 4 * PANEL * i, out[i]);
	}
	for (size_t f = 0; f < groups * (has_min ? 2 : 1); f++) {
		UNROLL
		for (int i = 0; i < 8; i++) in[i] = VF_BITS(f < groups ? e[i].scale[f] : e[i].min[f - groups]);
		transpose(in, out);
		for (size_t b = 0; b < n; b++) VI_STORE(at[b] + 4 * PANEL * (8 + f), out[b]);
	}
}

INLINE void make_panel(unpack_fn unpack, size_t eight_bytes, size_t bytes32, bool two, bool has_min, const uint8_t *w,
                       size_t row_bytes, size_t n_rows, size_t n_blocks, uint8_t *panel)
{
	size_t start[8];
	struct eight e[8];
	lane_starts(n_blocks, start);
	for (size_t g = 0; g * 8 < n_blocks; g++) {
		for (int i = 0; i < 8; i++) {
			size_t r0 = (size_t)panel_row(i, 0), r1 = (size_t)panel_row(i, 1);
			const uint8_t *p0 = w + (r0 < n_rows ? r0 : n_rows - 1) * row_bytes + g * eight_bytes;
			const uint8_t *p1 = w + (r1 < n_rows ? r1 : n_rows - 1) * row_bytes + g * eight_bytes;
			uint8_t tail[2][272];
			if (bytes32 && n_blocks - 8 * g < 8) {
				memset(tail, 0, sizeof tail);
				memcpy(tail[0], p0, (n_blocks - 8 * g) * bytes32);
				memcpy(tail[1], p1, (n_blocks - 8 * g) * bytes32);
				p0 = tail[0];
				p1 = tail[1];
			}
			unpack(p0, p1, &e[i]);
		}
		store_panel(e, two, has_min, g, n_blocks, start, panel);
	}
}

static void panel_any(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                      uint8_t *panel)
{
	size_t start[8];
	struct eight e[8];
	struct int_class c = LEVEL_NAME(int_class)(type);
	lane_starts(n_blocks, start);
	for (size_t g = 0; g * 8 < n_blocks; g++) {
		size_t n = n_blocks - 8 * g < 8 ? n_blocks - 8 * g : 8, at = bt_type_row_bytes(type, 256 * g);
		for (int i = 0; i < 8; i++) {
			size_t r0 = (size_t)panel_row(i, 0), r1 = (size_t)panel_row(i, 1);
			const uint8_t *p0 = w + (r0 < n_rows ? r0 : n_rows - 1) * row_bytes + at;
			const uint8_t *p1 = w + (r1 < n_rows ? r1 : n_rows - 1) * row_bytes + at;
			LEVEL_NAME(unpack_any)(type, &c, p0, p1, n, n, &e[i]);
		}
		store_panel(e, type->group == 16, type->has_min, g, n_blocks, start, panel);
	}
}

#define DEFINE(NAME, name, eight_bytes, bytes32, two, has_min, is_signed, has_offset)                                 \
	static void panel_##name(const struct bt_type *type, const uint8_t *w, size_t row_bytes, size_t n_rows,       \
	                         size_t n_blocks, uint8_t *panel)                                                     \
	{                                                                                                             \
		(void)type;                                                                                           \
		make_panel(unpack_##name, eight_bytes, bytes32, two, has_min, w, row_bytes, n_rows, n_blocks, panel); \
	}
UNPACK_TYPES(DEFINE)

panel_fn LEVEL_NAME(panel)(const struct bt_type *type)
{
#define ROW(NAME, name, ...) [BT_TYPE_##NAME] = panel_##name,
	static const panel_fn table[BT_TYPE_COUNT] = {UNPACK_TYPES(ROW)};
	return table[type->id] ? table[type->id] : panel_any;
}
