/* Every allocation of load and run fails once: a clean status, a sentence, nothing leaked, and the next try works. A few
 * failures are harmless and seen by nobody: an expression that can't be compiled to machine code is interpreted. */
#include "base/mem.h"

#include "helpers.h"

/* Load, compute in three calls that each take another path (prompt, more logits than planned, shared sequences). */
static enum baton_status load_and_run(const char *path, bool no_mmap, const char *device, struct baton_error *err)
{
	struct baton_model *m = NULL;
	struct baton_session *s = NULL;
	struct baton_model_params mp = {.no_mmap = no_mmap};
	enum baton_status status = baton_model_open(path, &mp, &m, err);
	if (!status) {
		struct baton_session_params p = baton_session_params_default();
		p.n_threads = 2;
		p.n_ubatch = 64;
		p.n_seq = 2;
		/* Over two devices: layers on both, and a pattern that cuts through a layer. */
		p.device = device;
		p.n_gpu_layers = 1;
		p.override_tensor = device ? "blk\\.0\\.(ffn_down|attn_norm)=CPU1,token_embd=CPU" : NULL;
		status = baton_session_open(m, &p, &s, err);
	}
	struct baton_input in[40];
	for (size_t i = 0; i < 40; i++) in[i] = (struct baton_input){.token = prompt_token(0, i), .logits = i == 39};
	if (!status) status = baton_eval(s, in, 40, err);
	for (size_t i = 0; i < 40; i++) in[i].logits = true;
	if (!status) status = baton_eval(s, in, 40, err);
	if (!status) status = baton_seq_copy(s, 0, 1, err);
	if (!status) status = baton_eval(s, in, 1, err);
	if (!status) assert_non_null(baton_logits(s, 0));
	baton_session_close(&s);
	baton_model_close(&m);
	return status;
}

static void fail_each(const char *name, bool no_mmap, const char *device)
{
	char path[512];
	const char *data = getenv("BATON_TEST_DATA");
	snprintf(path, sizeof path, "%s/models/%s.gguf", data ? data : "tests/data", name);
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	bt_mem_fail_at(0);
	assert_int_equal(load_and_run(path, no_mmap, device, NULL), BATON_OK);
	bt_mem_get_stats(&after);
	assert_int_equal(after.blocks, before.blocks);
	size_t total = after.allocs;
	assert_true(total > 50);
	size_t harmless = 0;
	for (size_t k = 1; k <= total; k++) {
		struct baton_error err = {0};
		bt_mem_fail_at(k);
		enum baton_status status = load_and_run(path, no_mmap, device, &err);
		bt_mem_fail_at(0);
		bt_mem_get_stats(&after);
		harmless += status == BATON_OK;
		if (status && (status != BATON_ERR_NOMEM || !err.text[0]))
			fail_msg("allocation %zu of %zu: status %d, '%s'", k, total, status, err.text);
		if (after.blocks != before.blocks)
			fail_msg("allocation %zu of %zu: %zu blocks leaked (%s)", k, total,
			         after.blocks - before.blocks, err.text);
	}
	if (harmless > total / 5) fail_msg("%zu of %zu failures were not noticed", harmless, total);
	assert_int_equal(load_and_run(path, no_mmap, device, NULL), BATON_OK);
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	fail_each("llama-plain.Q8_0", false, NULL);
	fail_each("llama-plain.Q8_0", true, NULL);
	fail_each("qwen35moe.Q4_0", false, NULL);
	fail_each("nemotron_h.Q8_0", false, NULL);
	fail_each("mamba2.F32", false, NULL);
	fail_each("llama-plain.Q8_0", false, "CPU1");
	fail_each("qwen35moe.Q4_0", false, "CPU1,null");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
