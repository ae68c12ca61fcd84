/* Fuzz target: a Jinja template and, behind a U+0000, the JSON object of its variables (a small conversation when there
 * is none). Whatever it is, it is rendered or refused with one sentence, twice the same, and leaves nothing behind. */
#include "base/limits.h"
#include "text/jinja.h"
#include "text/utf8.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
	if (!what) __builtin_trap();
}

static const char usual[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", "
			    "\"content\": [{\"type\": \"text\", \"text\": "
			    "\"\\u00e9\\ud83d\\ude00\"}]}, {\"role\": \"assistant\", \"content\": null, "
			    "\"tool_calls\": [{\"function\": {\"name\": \"f\", "
			    "\"arguments\": {\"a\": 1, \"b\": [1.5, true, null]}}}]}], \"tools\": [{\"type\": "
			    "\"function\", \"function\": {\"name\": \"f\", "
			    "\"parameters\": {\"properties\": {\"a\": {\"type\": \"integer\"}}}}}], \"documents\": "
			    "null, \"add_generation_prompt\": true, "
			    "\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"n\": -7, \"f\": 2.5, \"s\": \"a,b c\", "
			    "\"big\": 9223372036854775807}";

static enum baton_status render(const struct bt_jinja *j, const json_t *vars, struct bt_buf *out,
                                struct baton_error *err)
{
	static const struct tm now = {.tm_year = 125, .tm_mon = 2, .tm_mday = 14, .tm_wday = 5, .tm_yday = 72};
	struct bt_jinja_params p = {.vars = vars, .now = &now, .memory = (size_t)32 << 20, .steps = 300000};
	bt_buf_init(out, BT_MEM_TEXT, (size_t)4 << 20);
	return bt_jinja_render(j, &p, out, err);
}

static void check_error(enum baton_status status, const struct baton_error *err)
{
	require(status == BATON_ERR_TEMPLATE || status == BATON_ERR_LIMIT);
	require(err->status == status);
	require(strlen(err->text) < sizeof err->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bt_mem_stats before, after;
	const char *end = memchr(data, 0, size);
	size_t len = end ? (size_t)(end - (const char *)data) : size;
	json_t *vars = end ? json_loadb(end + 1, size - len - 1, JSON_ALLOW_NUL, NULL) : NULL;
	if (!json_is_object(vars)) {
		json_decref(vars);
		vars = json_loads(usual, 0, NULL);
		require(vars);
	}
	bt_mem_get_stats(&before);
	struct bt_jinja *j = NULL;
	struct baton_error err = {0}, again = {0};
	enum baton_status status = bt_jinja_open((const char *)data, len, &j, &err);
	require(!status == !!j);
	if (status) {
		check_error(status, &err);
	} else {
		struct bt_buf one, two;
		status = render(j, vars, &one, &err);
		require(render(j, vars, &two, &again) == status);
		require(one.len == two.len && !memcmp(bt_buf_str(&one), bt_buf_str(&two), one.len));
		require(bt_utf8_valid_prefix(bt_buf_str(&one), one.len) == one.len);
		if (status) {
			check_error(status, &err);
			require(!strcmp(err.text, again.text) && !one.len);
		}
		bt_buf_free(&one);
		bt_buf_free(&two);
	}
	bt_jinja_close(&j);
	bt_mem_get_stats(&after);
	require(before.blocks == after.blocks);
	json_decref(vars);
	return 0;
}
