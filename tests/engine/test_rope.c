/* Rope scaling: metadata to radians per position, for the settings that no golden model has. */
#include "engine/model.h"
#include "gguf/write.h"

#include "helpers.h"

#include <math.h>
#include <unistd.h>

struct setting {
	const char *type; /* NULL: no key */
	float factor;
	uint32_t n_ctx_orig;
};

/* qwen2.Q4_0 (heads of 64 values, base 1e6) with rope scaling keys, in a new file whose name goes to path. */
static void write_scaled(const struct setting *s, char *path)
{
	char from[512];
	struct baton_error err = {0};
	struct bt_gguf *g;
	struct bt_gguf_writer *w;
	const char *data = getenv("BATON_TEST_DATA");
	snprintf(from, sizeof from, "%s/models/qwen2.Q4_0.gguf", data ? data : "tests/data");
	strcpy(path, "/tmp/baton-rope-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	if (bt_gguf_open(from, NULL, &g, &err)) fail_msg("%s", err.text);
	assert_int_equal(bt_gguf_writer_new(&w, &err), BATON_OK);
	bt_gguf_writer_copy_kv(w, g);
	if (s->type) bt_gguf_writer_set_str(w, "qwen2.rope.scaling.type", s->type);
	bt_gguf_writer_set_f32(w, "qwen2.rope.scaling.factor", s->factor);
	if (s->n_ctx_orig) bt_gguf_writer_set_u32(w, "qwen2.rope.scaling.original_context_length", s->n_ctx_orig);
	for (size_t i = 0; i < bt_gguf_n_tensors(g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(g, i);
		bt_gguf_writer_add_tensor(w, t->name, t->type, t->n_dims, t->dim);
	}
	if (bt_gguf_writer_begin(w, path, &err)) fail_msg("%s", err.text);
	for (size_t i = 0; i < bt_gguf_n_tensors(g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(g, i);
		assert_int_equal(bt_gguf_writer_data(w, t->data, t->size, &err), BATON_OK);
	}
	if (bt_gguf_writer_finish(w, &err)) fail_msg("%s", err.text);
	bt_gguf_writer_close(&w);
	bt_gguf_close(&g);
}

static const struct bt_rope *find_rope(const struct bt_plan *p)
{
	for (uint32_t i = 0; i < p->n_ops; i++)
		if (p->op[i].kind == BT_OP_ROPE) return p->op[i].rope.rope;
	return NULL;
}

static void check_freq(const struct setting *s, const double *want, double magnitude)
{
	char path[64];
	struct baton_error err = {0};
	struct baton_model *m;
	write_scaled(s, path);
	enum baton_status status = baton_model_open(path, NULL, &m, &err);
	if (status) fail_msg("%s", err.text);
	const struct bt_rope *r = find_rope(&m->plan);
	assert_non_null(r);
	assert_int_equal(r->n_pairs, 32);
	assert_true(r->neox);
	for (int i = 0; i < 32; i++)
		if (fabs(r->freq[i] / want[i] - 1) > 1e-6) fail_msg("pair %d: %g, not %g", i, r->freq[i], want[i]);
	assert_true(fabs((double)r->magnitude - magnitude) < 1e-6);
	baton_model_close(&m);
	unlink(path);
}

static double plain(int pair)
{
	return pow(1e6, -pair / 32.0);
}

static void linear_scaling_divides_by_the_factor(void **state)
{
	(void)state;
	double want[32];
	for (int i = 0; i < 32; i++) want[i] = plain(i) / 4;
	check_freq(&(struct setting){"linear", 4, 0}, want, 1);
	check_freq(&(struct setting){NULL, 4, 0}, want, 1); /* old files: the factor alone */
	for (int i = 0; i < 32; i++) want[i] = plain(i);
	check_freq(&(struct setting){"none", 4, 0}, want, 1);
}

static void yarn_blends_between_its_two_borders(void **state)
{
	(void)state;
	/* Borders by hand: a pair turns 32 times within 4096 tokens at 64 ln(4096 / (32 2 pi)) / (2 ln 1e6) = 6.98, once at
	 * 15.01; so pairs up to 6 keep their frequency, pairs from 16 on are divided by 8, a straight ramp of ten steps
	 * in between. */
	double want[32];
	for (int i = 0; i < 32; i++) {
		double ramp = i <= 6 ? 0 : i >= 16 ? 1 : (i - 6) / 10.0;
		want[i] = plain(i) * (1 - ramp) + plain(i) / 8 * ramp;
	}
	check_freq(&(struct setting){"yarn", 8, 4096}, want, 1 + 0.1 * log(8));
}

static void unknown_scaling_is_refused(void **state)
{
	(void)state;
	char path[64];
	struct baton_error err = {0};
	struct baton_model *m;
	write_scaled(&(struct setting){"longrope", 8, 4096}, path);
	assert_int_equal(baton_model_open(path, NULL, &m, &err), BATON_ERR_UNSUPPORTED);
	assert_null(m);
	assert_non_null(strstr(err.text, "longrope"));
	unlink(path);
	write_scaled(&(struct setting){"linear", -1, 0}, path);
	assert_int_equal(baton_model_open(path, NULL, &m, &err), BATON_ERR_FORMAT);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linear_scaling_divides_by_the_factor),
		cmocka_unit_test(yarn_blends_between_its_two_borders),
		cmocka_unit_test(unknown_scaling_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
