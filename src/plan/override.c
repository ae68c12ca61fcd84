/* -ot: patterns over the names of weights. Patterns are searched for, not matched as a whole, as llama.cpp does. */
#include "plan/place.h"

#include "base/limits.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* Steps of one search: names are short, a pattern that needs more is one that backtracks without end. */
#define MATCH_STEPS 1000000u

struct rule {
	const char *text; /* pattern, '=' and device, not NUL-terminated */
	size_t pattern_len, len;
	uint8_t device;
	pcre2_code *code;
};

struct rules {
	pcre2_general_context *memory;
	pcre2_match_context *context;
	pcre2_match_data *match;
	struct rule *rule;
	size_t n;
};

static void *pcre_alloc(size_t size, void *user)
{
	(void)user;
	return bt_mem_alloc(BT_MEM_HOST, size);
}

static void pcre_free(void *p, void *user)
{
	(void)user;
	bt_mem_free(p);
}

static void close_rules(struct rules *r)
{
	for (size_t i = 0; i < r->n; i++) pcre2_code_free(r->rule[i].code);
	bt_mem_free(r->rule);
	pcre2_match_data_free(r->match);
	pcre2_match_context_free(r->context);
	pcre2_general_context_free(r->memory);
}

/* "CPU, Vulkan0" */
static void list_devices(const struct bt_place_device *device, uint32_t n, char *text, size_t size)
{
	size_t len = 0;
	*text = 0;
	for (uint32_t i = 0; i < n && len + strlen(device[i].name) + 3 < size; i++) {
		if (i) len = (size_t)(stpcpy(text + len, ", ") - text);
		len = (size_t)(stpcpy(text + len, device[i].name) - text);
	}
}

static enum baton_status find_device(struct rule *r, const struct bt_place_device *device, uint32_t n,
                                     struct baton_error *err)
{
	const char *name = r->text + r->pattern_len + 1;
	size_t len = r->len - r->pattern_len - 1;
	for (uint32_t i = 0; i < n; i++) {
		if (strlen(device[i].name) != len || strncasecmp(device[i].name, name, len)) continue;
		r->device = (uint8_t)i;
		return BATON_OK;
	}
	char known[160];
	list_devices(device, n, known, sizeof known);
	return bt_fail(err, BATON_ERR_ARG, "-ot %.*s: no device '%.*s' takes part here; these do: %s",
	               (int)(r->len < 120 ? r->len : 120), r->text, (int)(len < 40 ? len : 40), name, known);
}

static enum baton_status compile(struct rules *all, struct rule *r, struct baton_error *err)
{
	int code;
	PCRE2_SIZE at;
	pcre2_compile_context *ctx = pcre2_compile_context_create(all->memory);
	if (!ctx) return bt_fail_nomem(err, 0, "an expression");
	r->code = pcre2_compile((PCRE2_SPTR)r->text, r->pattern_len, PCRE2_NEVER_BACKSLASH_C, &code, &at, ctx);
	pcre2_compile_context_free(ctx);
	if (r->code) return BATON_OK;
	if (code == PCRE2_ERROR_HEAP_FAILED) return bt_fail_nomem(err, r->pattern_len, "an expression");
	char words[128];
	pcre2_get_error_message(code, (PCRE2_UCHAR *)words, sizeof words);
	return bt_fail(err, BATON_ERR_ARG, "-ot %.*s: the pattern is no regular expression: %s (at character %zu)",
	               (int)(r->len < 120 ? r->len : 120), r->text, words, (size_t)at + 1);
}

/* One rule of the list: text[len]. */
static enum baton_status add_rule(struct rules *all, const char *text, size_t len, const struct bt_place_device *device,
                                  uint32_t n, struct baton_error *err)
{
	struct rule *r = &all->rule[all->n++]; /* counted before it is whole: closing takes it */
	const char *equals = memrchr(text, '=', len);
	*r = (struct rule){.text = text, .len = len};
	if (!equals || equals == text || equals == text + len - 1)
		return bt_fail(err, BATON_ERR_ARG, "-ot expects PATTERN=DEVICE such as '_exps=CPU', got '%.*s'",
		               (int)(len < 120 ? len : 120), text);
	r->pattern_len = (size_t)(equals - text);
	enum baton_status status = find_device(r, device, n, err);
	return status ? status : compile(all, r, err);
}

static enum baton_status open_rules(struct rules *all, const char *text, const struct bt_place_device *device,
                                    uint32_t n, struct baton_error *err)
{
	if (strlen(text) > BT_LIMIT_TOKEN_BYTES)
		return bt_fail(err, BATON_ERR_LIMIT, "-ot: %zu bytes of patterns; at most %d are accepted",
		               strlen(text), BT_LIMIT_TOKEN_BYTES);
	all->rule = bt_mem_array(BT_MEM_HOST, strlen(text) + 1, sizeof *all->rule);
	all->memory = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
	if (!all->rule || !all->memory) return bt_fail_nomem(err, 0, "expressions");
	all->context = pcre2_match_context_create(all->memory);
	all->match = pcre2_match_data_create(1, all->memory);
	if (!all->context || !all->match) return bt_fail_nomem(err, 0, "expressions");
	pcre2_set_match_limit(all->context, MATCH_STEPS);
	enum baton_status status = BATON_OK;
	for (const char *s = text; *s && !status;) {
		size_t len = strcspn(s, ",;");
		if (len) status = add_rule(all, s, len, device, n, err);
		s += len;
		s += strspn(s, ",;");
	}
	return status;
}

/* The first rule that matches one of the operation's weights decides. */
static enum baton_status match_op(const struct rules *all, const struct bt_op *op, uint8_t *forced,
                                  struct baton_error *err)
{
	const struct bt_tensor *t[BT_OP_TENSORS];
	uint32_t n = bt_op_tensors(op, t);
	for (size_t i = 0; i < all->n; i++) {
		const struct rule *r = &all->rule[i];
		for (uint32_t j = 0; j < n; j++) {
			int rc = pcre2_match(r->code, (PCRE2_SPTR)t[j]->name.data, t[j]->name.len, 0, 0, all->match,
			                     all->context);
			if (rc == PCRE2_ERROR_NOMATCH) continue;
			if (rc == PCRE2_ERROR_HEAPLIMIT || rc == PCRE2_ERROR_NOMEMORY)
				return bt_fail_nomem(err, 0, "matching an expression");
			if (rc < 0)
				return bt_fail(err, BATON_ERR_ARG, "-ot %.*s: the pattern takes too long to match",
				               (int)(r->len < 120 ? r->len : 120), r->text);
			*forced = r->device;
			return BATON_OK;
		}
	}
	return BATON_OK;
}

enum baton_status bt_place_overrides(const struct bt_plan *plan, const struct bt_place_device *device, uint32_t n,
                                     const char *rules, uint8_t *forced, struct baton_error *err)
{
	struct rules all = {0};
	memset(forced, BT_NO_DEVICE, plan->n_ops);
	if (!rules || !*rules) return BATON_OK;
	enum baton_status status = open_rules(&all, rules, device, n, err);
	for (uint32_t i = 0; i < plan->n_ops && !status; i++) status = match_op(&all, &plan->op[i], &forced[i], err);
	close_rules(&all);
	return status;
}
