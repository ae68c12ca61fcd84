/* index.c: names to entries, in constant time.
 *
 * Linear probing in a table at most half full. A file's author chooses the names, so colliding ones must not make the
 * building quadratic: with the hash below a run of PROBE_MAX taken slots does not happen by chance, and is refused.
 */
#include "gguf/internal.h"

#define PROBE_MAX 1024

/* FNV-1a with a final mix (from MurmurHash3), because only the low bits are used. */
static uint32_t hash(struct bt_str s)
{
	uint64_t h = 0xCBF29CE484222325u;
	for (size_t i = 0; i < s.len; i++) h = (h ^ (unsigned char)s.data[i]) * 0x100000001B3u;
	h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDu;
	return (uint32_t)(h ^ h >> 33);
}

static bool same(struct bt_str a, struct bt_str b)
{
	return a.len == b.len && !memcmp(a.data, b.data, a.len);
}

enum baton_status bt_name_index_build(struct bt_name_index *x, size_t n, struct bt_str (*name_at)(const void *, size_t),
                                      const void *entries, const char *file, const char *what, struct baton_error *err)
{
	size_t size = 16;
	while (size < 2 * n) size *= 2;
	x->mask = (uint32_t)(size - 1);
	x->slot = bt_mem_array(BT_MEM_HOST, size, sizeof *x->slot);
	if (!x->slot) return bt_fail_nomem(err, size * sizeof *x->slot, "the index of a GGUF directory");
	for (size_t i = 0; i < n; i++) {
		struct bt_str name = name_at(entries, i);
		uint32_t at = hash(name) & x->mask, probes = 0;
		char show[96];
		for (; x->slot[at]; at = (at + 1) & x->mask) {
			if (same(name_at(entries, x->slot[at] - 1), name))
				return bt_fail(err, BATON_ERR_FORMAT,
				               "%.200s: %s '%s' appears twice (as number %u and number %zu)", file,
				               what, bt_str_show(name, show, sizeof show), x->slot[at] - 1, i);
			if (++probes == PROBE_MAX)
				return bt_fail(err, BATON_ERR_FORMAT,
				               "%.200s: the names of its %ss are chosen to collide (%s '%s')", file,
				               what, what, bt_str_show(name, show, sizeof show));
		}
		x->slot[at] = (uint32_t)i + 1;
	}
	return BATON_OK;
}

int64_t bt_name_index_find(const struct bt_name_index *x, struct bt_str (*name_at)(const void *, size_t),
                           const void *entries, struct bt_str name)
{
	if (!x->slot) return -1;
	for (uint32_t at = hash(name) & x->mask; x->slot[at]; at = (at + 1) & x->mask)
		if (same(name_at(entries, x->slot[at] - 1), name)) return x->slot[at] - 1;
	return -1;
}
