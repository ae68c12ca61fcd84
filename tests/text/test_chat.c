/* Chat templates of models, files and names: what the template sees, which one is chosen, what is said where there is
 * none. */
#include "../gguf/make.h"
#include "chat_cases.h"

#include "base/limits.h"
#include "text/chat.h"

/* A model file in memory with a vocabulary of three tokens, and templates as asked for. */
struct model {
	struct bt_buf bytes;
	struct bt_gguf *g;
	struct bt_tokenizer *t;
};

static void open_model(struct model *m, const char *template, const char *tool_use, const char *rag)
{
	static const char *const tokens[] = {"<s>", "</s>", "a"};
	int n_kv = 6 + !!template + !!tool_use + !!rag;
	struct baton_error err;
	put_header(&m->bytes, 3, 0, (uint64_t)n_kv);
	put_kv_str(&m->bytes, "tokenizer.ggml.model", "gpt2");
	put_kv_str(&m->bytes, "tokenizer.ggml.pre", "gpt-2");
	put_kv_array(&m->bytes, "tokenizer.ggml.tokens", BT_GGUF_STRING, 3);
	for (int i = 0; i < 3; i++) put_str(&m->bytes, tokens[i]);
	put_kv_array(&m->bytes, "tokenizer.ggml.merges", BT_GGUF_STRING, 0);
	put_kv(&m->bytes, "tokenizer.ggml.bos_token_id", BT_GGUF_U32, 0, 4);
	put_kv(&m->bytes, "tokenizer.ggml.eos_token_id", BT_GGUF_U32, 1, 4);
	if (template) put_kv_str(&m->bytes, "tokenizer.chat_template", template);
	if (tool_use) put_kv_str(&m->bytes, "tokenizer.chat_template.tool_use", tool_use);
	if (rag) put_kv_str(&m->bytes, "tokenizer.chat_template.rag", rag);
	if (bt_gguf_open_memory(m->bytes.data, m->bytes.len, "m.gguf", &m->g, &err)) fail_msg("%s", err.text);
	if (bt_tokenizer_open(m->g, &m->t, &err)) fail_msg("%s", err.text);
}

static void close_model(struct model *m)
{
	bt_tokenizer_close(&m->t);
	bt_gguf_close(&m->g);
	bt_buf_free(&m->bytes);
}

/* The text, or the error's; both tell which by their first character. */
static const char *rendered(const struct bt_chat *c, const char *messages, const char *tools, const char *kwargs)
{
	static char text[4096];
	struct bt_buf out;
	struct baton_error err = {0};
	json_t *m = json_loads(messages, 0, NULL), *t = tools ? json_loads(tools, 0, NULL) : NULL;
	json_t *k = kwargs ? json_loads(kwargs, 0, NULL) : NULL;
	assert_non_null(m);
	bt_buf_init(&out, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
	struct bt_chat_request q = {
		.messages = m, .tools = t, .kwargs = k, .add_generation_prompt = true, .now = &case_clock};
	enum baton_status st = bt_chat_render(c, &q, &out, &err);
	snprintf(text, sizeof text, "%s%s", st ? "!" : "", st ? err.text : bt_buf_str(&out));
	bt_buf_free(&out);
	json_decref(m);
	json_decref(t);
	json_decref(k);
	return text;
}

static const char sees_all[] =
	"{{ bos_token }}|{{ eos_token }}|{{ messages|length }}|{{ tools is none }}|{{ documents is none }}|"
	"{{ add_generation_prompt }}|{{ extra }}|{{ strftime_now('%Y') }}|{{ nope is defined }}";

static void templates_see_what_transformers_gives(void **state)
{
	(void)state;
	struct model m = {0};
	struct bt_chat *c;
	struct baton_error err;
	open_model(&m, sees_all, NULL, NULL);
	assert_int_equal(bt_chat_open(&(struct bt_chat_source){.gguf = m.g, .tokenizer = m.t}, &c, &err), BATON_OK);
	assert_string_equal(bt_chat_origin(c), "m.gguf");
	assert_int_equal(bt_chat_template(c, false).len, strlen(sees_all));
	assert_string_equal(rendered(c, "[]", NULL, NULL), "<s>|</s>|0|True|True|True||2025|False");
	assert_string_equal(rendered(c, "[1, 2]", "[]", "{\"extra\": 5, \"bos_token\": \"B\", \"tools\": null}"),
	                    "B|</s>|2|True|True|True|5|2025|False");
	/* The object keeps nothing of what it was opened from. */
	close_model(&m);
	assert_string_equal(rendered(c, "[]", NULL, NULL), "<s>|</s>|0|True|True|True||2025|False");
	bt_chat_close(&c);
	assert_null(c);
	bt_chat_close(&c);
}

static void tools_choose_their_template(void **state)
{
	(void)state;
	struct model m = {0};
	struct bt_chat *c;
	open_model(&m, "plain", "tools {{ tools[0].name }}", "rag{{ bos_token }}");
	struct bt_chat_source s = {.gguf = m.g, .tokenizer = m.t};
	assert_int_equal(bt_chat_open(&s, &c, NULL), BATON_OK);
	assert_string_equal(rendered(c, "[]", NULL, NULL), "plain");
	assert_string_equal(rendered(c, "[]", "[]", NULL), "plain");
	assert_string_equal(rendered(c, "[]", "[{\"name\": \"f\"}]", NULL), "tools f");
	bt_chat_close(&c);
	s.name = "rag";
	assert_int_equal(bt_chat_open(&s, &c, NULL), BATON_OK);
	assert_string_equal(rendered(c, "[]", "[{\"name\": \"f\"}]", NULL), "rag<s>");
	bt_chat_close(&c);
	s.name = "{{ eos_token }} given";
	assert_int_equal(bt_chat_open(&s, &c, NULL), BATON_OK);
	assert_string_equal(rendered(c, "[]", NULL, NULL), "</s> given");
	bt_chat_close(&c);
	s.name = "chatml";
	assert_int_equal(bt_chat_open(&s, &c, NULL), BATON_OK);
	assert_string_equal(bt_chat_origin(c), "the built-in template 'chatml'");
	assert_string_equal(rendered(c, "[{\"role\": \"user\", \"content\": \"x\"}]", NULL, NULL),
	                    "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n");
	/* Content in parts, and none. */
	assert_string_equal(
		rendered(c,
	                 "[{\"role\": \"tool\", \"content\": [{\"text\": \"x\"}, {\"image\": 1}, {\"text\": \"y\"}]}]",
	                 NULL, NULL),
		"<|im_start|>tool\nxy<|im_end|>\n<|im_start|>assistant\n");
	assert_string_equal(rendered(c, "[{\"role\": \"user\", \"content\": null}]", NULL, NULL),
	                    "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n");
	bt_chat_close(&c);
	close_model(&m);
}

static void what_is_missing_is_named(void **state)
{
	(void)state;
	struct model m = {0};
	struct bt_chat *c = (struct bt_chat *)&m;
	struct baton_error err;
	open_model(&m, NULL, NULL, NULL);
	struct bt_chat_source s = {.gguf = m.g, .tokenizer = m.t};
	assert_int_equal(bt_chat_open(&s, &c, &err), BATON_ERR_UNSUPPORTED);
	assert_null(c);
	assert_string_equal(
		err.text, "m.gguf: the file has no chat template: choose one with --chat-template (such as chatml) or "
			  "--chat-template-file, or use --raw");
	assert_int_equal(bt_chat_open(&(struct bt_chat_source){0}, &c, &err), BATON_ERR_UNSUPPORTED);
	s.name = "nonesuch";
	assert_int_equal(bt_chat_open(&s, &c, &err), BATON_ERR_ARG);
	assert_non_null(strstr(err.text, "nonesuch"));
	s.file = "nonesuch.jinja";
	assert_int_equal(bt_chat_open(&s, &c, &err), BATON_ERR_IO);
	assert_string_equal(err.text, "cannot open the chat template 'nonesuch.jinja': No such file or directory");
	close_model(&m);
	m = (struct model){0};
	open_model(&m, "line\n{% if %}", NULL, NULL);
	assert_int_equal(bt_chat_open(&(struct bt_chat_source){.gguf = m.g}, &c, &err), BATON_ERR_TEMPLATE);
	assert_string_equal(err.text,
	                    "m.gguf, tokenizer.chat_template: Expected an expression, got 'end of statement block' "
	                    "(TemplateSyntaxError, template line 2)");
	close_model(&m);
	m = (struct model){0};
	open_model(&m, "{{ raise_exception('Only ' ~ messages[0].role) }}", NULL, NULL);
	assert_int_equal(bt_chat_open(&(struct bt_chat_source){.gguf = m.g}, &c, &err), BATON_OK);
	assert_string_equal(rendered(c, "[{\"role\": \"user\"}]", NULL, NULL), "!Only user");
	bt_chat_close(&c);
	close_model(&m);
}

static void built_in_templates_are_llama_cpps(void **state)
{
	(void)state;
	char folder[4096];
	json_t *cases = read_cases(case_folder(false, folder, sizeof folder), "builtin.json"), *c;
	size_t i, n = 0, bad = 0;
	json_array_foreach(cases, i, c)
	{
		const char *name = json_string_value(json_object_get(c, "name")),
			   *want = json_string_value(json_object_get(c, "expected"));
		struct bt_chat *chat;
		struct bt_buf out;
		struct baton_error err;
		bt_buf_init(&out, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
		if (bt_chat_open(&(struct bt_chat_source){.name = name}, &chat, &err)) fail_msg("%s", err.text);
		struct bt_chat_request q = {.messages = json_object_get(c, "messages"),
		                            .add_generation_prompt = json_is_true(
						    json_object_get(c, "add_generation_prompt"))};
		if (bt_chat_render(chat, &q, &out, &err)) fail_msg("%s: %s", name, err.text);
		if (strcmp(bt_buf_str(&out), want) != 0) {
			bad++;
			fprintf(stderr, "%s\n  want %s\n  got  %s\n", name, want, bt_buf_str(&out));
		}
		bt_buf_free(&out);
		bt_chat_close(&chat);
	}
	while (bt_chat_builtin_name(n)) n++;
	printf("%zu templates, %zu conversations\n", n, json_array_size(cases));
	assert_int_equal(bad, 0);
	assert_int_equal(json_array_size(cases), 4 * n);
	json_decref(cases);
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	struct model m = {0};
	struct bt_mem_stats before, after;
	open_model(&m, sees_all, "tools {{ 1 }}", NULL);
	struct bt_chat_source s = {.gguf = m.g, .tokenizer = m.t};
	bt_mem_get_stats(&before);
	for (size_t k = 1;; k++) {
		struct bt_chat *c = NULL;
		struct bt_buf out;
		struct baton_error err = {0};
		json_t *messages = json_array();
		bt_buf_init(&out, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
		bt_mem_fail_at(k);
		enum baton_status st = bt_chat_open(&s, &c, &err);
		if (!st)
			st = bt_chat_render(c, &(struct bt_chat_request){.messages = messages, .now = &case_clock},
			                    &out, &err);
		bt_mem_fail_at(0);
		bt_buf_free(&out);
		bt_chat_close(&c);
		json_decref(messages);
		bt_mem_get_stats(&after);
		assert_int_equal(after.blocks, before.blocks);
		if (!st) break;
		assert_int_equal(st, BATON_ERR_NOMEM);
		assert_true(k < 1000);
	}
	close_model(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates_see_what_transformers_gives),
		cmocka_unit_test(tools_choose_their_template),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(built_in_templates_are_llama_cpps),
		cmocka_unit_test(every_allocation_may_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
