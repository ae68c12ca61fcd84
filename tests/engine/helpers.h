/* What the tests of the engine share. */
#ifndef BT_TESTS_ENGINE_HELPERS_H
#define BT_TESTS_ENGINE_HELPERS_H

#include "baton.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>

/* A model of tests/data/models. */
static inline struct baton_model *open_fixture(const char *name, bool no_mmap)
{
	char path[512];
	struct baton_error err = {0};
	struct baton_model *m;
	const char *data = getenv("BATON_TEST_DATA");
	snprintf(path, sizeof path, "%s/models/%s.gguf", data ? data : "tests/data", name);
	struct baton_model_params params = {.no_mmap = no_mmap};
	if (baton_model_open(path, &params, &m, &err)) fail_msg("%s", err.text);
	return m;
}

static inline struct baton_session *open_session(struct baton_model *m, const struct baton_session_params *params)
{
	struct baton_error err = {0};
	struct baton_session *s;
	if (baton_session_open(m, params, &s, &err)) fail_msg("%s", err.text);
	return s;
}

/* Token i of a made-up prompt. */
static inline int32_t prompt_token(unsigned prompt, size_t i)
{
	return (int32_t)((i * 131 + i * i * 7 + prompt * 97 + 11) % 500);
}

static inline void eval(struct baton_session *s, const struct baton_input *in, size_t n)
{
	struct baton_error err = {0};
	if (baton_eval(s, in, n, &err)) fail_msg("%s", err.text);
}

/* Append n tokens of a prompt, from its token `from` on, to a sequence, asking for all logits. */
static inline void eval_prompt(struct baton_session *s, unsigned prompt, uint32_t seq, size_t from, size_t n)
{
	struct baton_input in[512];
	assert_true(n <= 512);
	for (size_t i = 0; i < n; i++)
		in[i] = (struct baton_input){.token = prompt_token(prompt, from + i), .seq = seq, .logits = true};
	eval(s, in, n);
}

#endif
