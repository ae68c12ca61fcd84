/* The Jinja interpreter against Python's: the language case by case, whole chat templates, limits, failed allocations,
 * threads. */
#include "chat_cases.h"

#include "base/limits.h"
#include "text/jinja.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>

struct outcome {
	enum baton_status status;
	struct baton_error err;
	struct bt_buf text;
};

/* Within the usual limits, or those given. */
static struct outcome render_within(const char *source, size_t len, const json_t *vars, size_t memory, uint64_t steps)
{
	struct outcome o = {0};
	struct bt_jinja *j = NULL;
	bt_buf_init(&o.text, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
	o.status = bt_jinja_open(source, len, &j, &o.err);
	struct bt_jinja_params p = {.vars = vars, .now = &case_clock, .memory = memory, .steps = steps};
	if (!o.status) o.status = bt_jinja_render(j, &p, &o.text, &o.err);
	bt_jinja_close(&j);
	return o;
}

static struct outcome render(const char *source, size_t len, const json_t *vars)
{
	return render_within(source, len, vars, 0, 0);
}

/* Whether o is what case c wants; says so on stderr when not. */
static bool as_wanted(const struct outcome *o, const json_t *c, const char *name)
{
	const json_t *expected = json_object_get(c, "expected");
	const char *error = json_string_value(json_object_get(c, "error"));
	const char *type = json_string_value(json_object_get(c, "error_type"));
	bool good;
	if (expected)
		good = !o->status && o->text.len == json_string_length(expected) &&
		       !memcmp(bt_buf_str(&o->text), json_string_value(expected), o->text.len);
	else if (!strcmp(type, "TemplateError")) good = o->status == BATON_ERR_TEMPLATE && !strcmp(o->err.text, error);
	else {
		char kind[100];
		snprintf(kind, sizeof kind, " (%s, template line ", type);
		good = o->status == BATON_ERR_TEMPLATE;
		if (error) good = good && !strncmp(o->err.text, error, strlen(error)) && strstr(o->err.text, kind);
	}
	if (!good)
		fprintf(stderr, "%s\n  want %s\n  got  %s\n", name,
		        expected ? json_string_value(expected)
		        : error  ? error
		                 : type,
		        o->status ? o->err.text : bt_buf_str(&o->text));
	return good;
}

static void check_language(const char *file, size_t at_least)
{
	char folder[4096];
	json_t *cases = read_cases(case_folder(false, folder, sizeof folder), file), *c;
	size_t i, bad = 0;
	assert_true(json_array_size(cases) >= at_least);
	json_array_foreach(cases, i, c)
	{
		const json_t *t = json_object_get(c, "template");
		struct outcome o = render(json_string_value(t), json_string_length(t), json_object_get(c, "vars"));
		bad += !as_wanted(&o, c, json_string_value(json_object_get(c, "name")));
		bt_buf_free(&o.text);
	}
	printf("%s: %zu of %zu\n", file, json_array_size(cases) - bad, json_array_size(cases));
	assert_int_equal(bad, 0);
	json_decref(cases);
}

static void the_language_is_pythons(void **state)
{
	(void)state;
	check_language("jinja-language.json", 214);
	check_language("jinja-more.json", 700);
}

/* What a template sees in a case of cases.json. */
static json_t *case_vars(const json_t *c)
{
	static const char *const keys[] = {"messages", "tools", "documents", "add_generation_prompt"};
	json_t *vars = json_object();
	for (size_t i = 0; i < 4; i++) json_object_set(vars, keys[i], json_object_get(c, keys[i]));
	json_object_update(vars, json_object_get(c, "kwargs"));
	return vars;
}

static void check_conversations(const char *folder, size_t at_least)
{
	json_t *cases = read_cases(folder, "cases.json"), *c;
	size_t i, bad = 0;
	char name[400], last[200] = "";
	struct bt_buf source = {0};
	assert_true(json_array_size(cases) >= at_least);
	json_array_foreach(cases, i, c)
	{
		const char *file = json_string_value(json_object_get(c, "template"));
		if (strcmp(last, file) != 0) {
			bt_buf_free(&source);
			snprintf(last, sizeof last, "%s", file);
			snprintf(name, sizeof name, "templates/%s", file);
			source = read_whole(folder, name);
			assert_non_null(source.data);
		}
		snprintf(name, sizeof name, "%s, %s", file, json_string_value(json_object_get(c, "conversation")));
		json_t *vars = case_vars(c);
		struct outcome o = render(source.data, source.len, vars);
		bad += !as_wanted(&o, c, name);
		bt_buf_free(&o.text);
		json_decref(vars);
	}
	printf("%s: %zu of %zu conversations\n", folder, json_array_size(cases) - bad, json_array_size(cases));
	bt_buf_free(&source);
	assert_int_equal(bad, 0);
	json_decref(cases);
}

static void conversations_are_pythons(void **state)
{
	(void)state;
	char folder[4096];
	check_conversations(case_folder(false, folder, sizeof folder), 1100);
	if (case_folder(true, folder, sizeof folder)) check_conversations(folder, 2300);
	else
		printf("skipped: 22 templates under other licences are read from $BATON_SHARED or ../shared, which is "
		       "not there\n");
}

/* Each must end quickly with one line that says what the limit is: "the template " needs too much memory or runs for too
 * many steps, whichever comes first. */
static void limits_hold(void **state)
{
	(void)state;
	static const struct {
		const char *template, *words;
	} hostile[] = {
		{"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "the template "},
		{"{{ 'a' * 10**9 }}", "the template "},
		{"{{ 'a' * 10**18 }}", "the template "},
		{"{{ [0] * 10**12 }}", "the template "},
		{"{{ 'é' * 10**9 }}", "the template "},
		{"{% set ns = namespace(s='x' * 1000) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor "
	         "%}",
	         "the template "},
		{"{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
	         "the template "},
		{"{% set x = 'x' * 10**6 %}{% for i in range(100) %}{{ x }}{% endfor %}", "prints more than"},
		{"{{ range(100001)|list }}", "Range too big"},
		{"{{ range(10**18) }}", "Range too big"},
		{"{{ 2 ** 1000000 }}", "integer power"},
		{"{{ 10 ** (10 ** 20) }}", "integer power"},
		{"{% set ns = namespace(n=3) %}{% for i in range(100) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
	         "65536 bits"},
		{"{{ (10**4000 * 10**4000)|string }}", "4300 digits"},
		{"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "200 levels deep"},
		{"{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}", "200 levels deep"},
		{"{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l "
	         "}}",
	         "nested too deeply"},
		{"{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ "
	         "ns.l|tojson }}",
	         "nested too deeply"},
		{"{% set ns = namespace(a=[], b=[]) %}{% for i in range(50000) %}{% set ns.a = [ns.a] %}{% set ns.b = "
	         "[ns.b] %}{% endfor %}"
	         "{{ ns.a == ns.b }}",
	         "nested too deeply"},
		{"{% set ns = namespace(a=(), b=()) %}{% for i in range(50000) %}{% set ns.a = (ns.a,) %}{% set ns.b = "
	         "(ns.b,) %}{% endfor %}"
	         "{{ ns.a < ns.b }}",
	         "nested too deeply"},
		{"{% set ns = namespace(a=()) %}{% for i in range(50000) %}{% set ns.a = (ns.a,) %}{% endfor %}{{ "
	         "{ns.a: 1} }}",
	         "nested too deeply"},
		{"{% set ns = namespace(g=[1]) %}{% for i in range(50000) %}{% set ns.g = ns.g|map('string') %}{% "
	         "endfor %}{{ ns.g|list }}",
	         "nested too deeply"},
		{"{{ '%1000000000d' % 1 }}", "more than 1000000 characters"},
		{"{{ '{:1000000000}'.format(1) }}", "more than 1000000 characters"},
		{"{{ '%.100000f' % 1 }}", "more than 1000000 characters"},
		{"{{ 'x'.ljust(10**12) }}", "the template "},
		{"{{ 'x'|center(10**12) }}", "the template "},
		{"{{ '\\n'|indent(10**12) }}", "the template "},
		{"{{ [1]|tojson(indent=10**12) }}", "the template "},
		{"{{ ('a' * 10**6).replace('', 'b' * 10**6) }}", "the template "},
		{"{{ [1]|batch(10**12, 0)|list }}", "the template "},
		{"{{ [1]|slice(10**12)|list }}", "the template "},
		{"{{ '\\t'.expandtabs(10**12) }}", "the template "},
		{"{% set s = 'ab' * 10**6 %}{% for i in range(100000) %}{{ 'zz' in s }}{% endfor %}", "the template "},
		{"{% set s = 'ab' * 10**6 %}{% for i in range(100000) %}{{ s == s ~ '' }}{% endfor %}", ""},
		{"{% set s = 'é' * 10**6 %}{% for i in range(100000) %}{{ s[500000] }}{% endfor %}", "the template "},
		{"{% set s = ' ' * 10**6 %}{% for i in range(100000) %}{{ s.strip() }}{% endfor %}", "the template "},
		{"{% set s = 'Σ' * 10**6 %}{{ s.lower()|length }}", ""},
		{"{% macro a() %}{{ caller() }}{{ caller() }}{% endmacro %}{% macro b() %}{% call a() %}{% call a() "
	         "%}{% call a() %}"
	         "{% call a() %}{{ b() }}{% endcall %}{% endcall %}{% endcall %}{% endcall %}{% endmacro %}{{ b() }}",
	         "levels deep"},
		{"{% block a %}{{ self.a() }}{% endblock %}", "200 levels deep"},
	};
	for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
		/* The first three with the usual limits; the others need no more to show what they do. */
		struct outcome o = render_within(hostile[i].template, strlen(hostile[i].template), NULL,
		                                 i < 3 ? 0 : (size_t)96 << 20, i < 3 ? 0 : 4000000);
		if (*hostile[i].words && (!o.status || !strstr(o.err.text, hostile[i].words)))
			fail_msg("%s\n  %s", hostile[i].template, o.status ? o.err.text : "was rendered");
		assert_null(strchr(o.err.text, '\n'));
		bt_buf_free(&o.text);
	}
}

/* n times `open`, then `middle`, then n times `close`. */
static struct outcome render_nested(const char *open, const char *middle, const char *close, size_t n)
{
	struct bt_buf b;
	bt_buf_init(&b, BT_MEM_TEXT, (size_t)16 << 20);
	for (size_t i = 0; i < n; i++) bt_buf_adds(&b, open);
	bt_buf_adds(&b, middle);
	for (size_t i = 0; i < n; i++) bt_buf_adds(&b, close);
	struct outcome o = render(bt_buf_str(&b), b.len, NULL);
	bt_buf_free(&b);
	return o;
}

static void nesting_of_the_source_is_bounded(void **state)
{
	(void)state;
	static const char *const parts[][5] = {
		/* before, open, middle, close, after */
		{"{{ ", "(", "1", ")", " }}"},
		{"{{ ", "[", "1", "]", " }}"},
		{"{{ ", "{1: ", "1", "}", " }}"},
		{"{{ ", "- ", "1", "", " }}"},
		{"{{ ", "not ", "1", "", " }}"},
		{"{{ ", "1 if 1 else ", "1", "", " }}"},
		{"{{ ", "", "1", " + 1", " }}"},
		{"{{ ", "", "'a'", "|upper", " }}"},
		{"{{ ", "", "a", ".b", " }}"},
		{"{{ ", "", "a", "[0]", " }}"},
		{"{{ ", "", "a", "()", " }}"},
		{"{{ ", "a(", "1", ")", " }}"},
		{"{{ ", "", "1", " and 1", " }}"},
		{"{{ ", "", "1", " or 1", " }}"},
		{"{{ ", "", "1", " is odd", " }}"},
		{"", "{% if 1 %}", "x", "{% endif %}", ""},
		{"", "{% for x in [1] %}", "x", "{% endfor %}", ""},
		{"", "{% set x %}", "x", "{% endset %}", ""},
		{"", "{% macro f() %}", "x", "{% endmacro %}", ""},
		{"", "{% filter upper %}", "x", "{% endfilter %}", ""},
		{"", "{% with %}", "x", "{% endwith %}", ""},
		{"", "{% call f() %}", "x", "{% endcall %}", ""},
		{"{% for ", "(", "a", ",)", " in [] %}{% endfor %}"},
	};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		struct bt_buf b;
		bt_buf_init(&b, BT_MEM_TEXT, (size_t)16 << 20);
		bt_buf_adds(&b, parts[i][0]);
		for (int k = 0; k < 50000; k++) bt_buf_adds(&b, parts[i][1]);
		bt_buf_adds(&b, parts[i][2]);
		for (int k = 0; k < 50000; k++) bt_buf_adds(&b, parts[i][3]);
		bt_buf_adds(&b, parts[i][4]);
		struct outcome o = render(bt_buf_str(&b), b.len, NULL);
		if (!strstr(o.err.text, "nested deeper than 200") && !strstr(o.err.text, "chain multiple tests"))
			fail_msg("%s%s: %s", parts[i][0], parts[i][1], o.err.text);
		bt_buf_free(&o.text);
		bt_buf_free(&b);
	}
	struct outcome o = render_nested("{% if 1 %}", "deep enough", "{% endif %}", 100);
	assert_string_equal(bt_buf_str(&o.text), "deep enough");
	bt_buf_free(&o.text);
	/* An elif is no nesting. */
	o = render_nested("", "{% if 0 %}", "", 1);
	bt_buf_free(&o.text);
	struct bt_buf b;
	bt_buf_init(&b, BT_MEM_TEXT, (size_t)16 << 20);
	bt_buf_adds(&b, "{% if 0 %}");
	for (int i = 0; i < 5000; i++) bt_buf_adds(&b, "{% elif 0 %}");
	bt_buf_adds(&b, "{% else %}end{% endif %}");
	o = render(bt_buf_str(&b), b.len, NULL);
	assert_string_equal(bt_buf_str(&o.text), "end");
	bt_buf_free(&o.text);
	bt_buf_free(&b);
}

static void sources_are_checked(void **state)
{
	(void)state;
	struct baton_error err;
	struct bt_jinja *j = (struct bt_jinja *)&err;
	assert_int_equal(bt_jinja_open("a\xFF", 2, &j, &err), BATON_ERR_TEMPLATE);
	assert_null(j);
	assert_string_equal(err.text, "the template is not UTF-8 at byte 1");
	char *big = calloc(1, BT_LIMIT_TEMPLATE_SOURCE + 1);
	memset(big, 'a', BT_LIMIT_TEMPLATE_SOURCE + 1);
	assert_int_equal(bt_jinja_open(big, BT_LIMIT_TEMPLATE_SOURCE + 1, &j, &err), BATON_ERR_LIMIT);
	assert_int_equal(bt_jinja_open(big, BT_LIMIT_TEMPLATE_SOURCE, &j, &err), BATON_OK);
	bt_jinja_close(&j);
	assert_null(j);
	bt_jinja_close(&j);
	free(big);
	/* Nobody has to listen. */
	assert_int_equal(bt_jinja_open("{{", 2, &j, NULL), BATON_ERR_TEMPLATE);
	assert_int_equal(bt_jinja_open("{{ '\\x' }}", 10, &j, NULL), BATON_ERR_TEMPLATE);
	assert_int_equal(bt_jinja_open("", 0, &j, NULL), BATON_OK);
	bt_jinja_close(&j);
}

static void output_is_appended_or_left_alone(void **state)
{
	(void)state;
	struct baton_error err;
	struct bt_jinja *j;
	struct bt_buf out;
	struct bt_jinja_params p = {.now = &case_clock};
	bt_buf_init(&out, BT_MEM_TEXT, 20);
	bt_buf_adds(&out, "kept ");
	assert_int_equal(bt_jinja_open("{{ 'new' }}", 11, &j, &err), BATON_OK);
	assert_int_equal(bt_jinja_render(j, &p, &out, &err), BATON_OK);
	assert_string_equal(bt_buf_str(&out), "kept new");
	bt_jinja_close(&j);
	assert_int_equal(bt_jinja_open("a{{ nope.x }}", 13, &j, &err), BATON_OK);
	assert_int_equal(bt_jinja_render(j, &p, &out, &err), BATON_ERR_TEMPLATE);
	assert_string_equal(err.text, "'nope' is undefined (UndefinedError, template line 1)");
	assert_string_equal(bt_buf_str(&out), "kept new");
	bt_jinja_close(&j);
	assert_int_equal(bt_jinja_open("0123456789abcdef", 16, &j, &err), BATON_OK);
	assert_int_equal(bt_jinja_render(j, &p, &out, &err), BATON_ERR_LIMIT);
	assert_string_equal(bt_buf_str(&out), "kept new");
	bt_jinja_close(&j);
	json_t *list = json_array();
	assert_int_equal(bt_jinja_open("x", 1, &j, &err), BATON_OK);
	assert_int_equal(bt_jinja_render(j, &(struct bt_jinja_params){.vars = list}, &out, &err), BATON_ERR_ARG);
	bt_jinja_close(&j);
	json_decref(list);
	bt_buf_free(&out);
}

/* Long messages are cut between characters. */
static void long_messages_are_cut(void **state)
{
	(void)state;
	for (int pad = 0; pad < 4; pad++) {
		char source[200];
		snprintf(source, sizeof source, "{{ raise_exception('%.*s' ~ '\xE2\x82\xAC' * 300) }}", pad, "aaaa");
		struct outcome o = render(source, strlen(source), NULL);
		size_t len = strlen(o.err.text);
		assert_int_equal(o.status, BATON_ERR_TEMPLATE);
		assert_true(len > 500 && len < sizeof o.err.text);
		assert_int_equal((len - (size_t)pad) % 3, 0);
		bt_buf_free(&o.text);
	}
}

static const char allocating[] =
	"{% macro f(a, b=[1]) %}{{ a }}{{ b }}{{ kwargs }}{{ varargs }}{{ caller('x') if caller }}{% endmacro %}"
	"{% for x in [1, 2, 3]|select('odd') recursive %}{{ loop.length }}{{ loop.changed(x) }}{{ f(x, 2, 3, z=4) }}{% "
	"endfor %}"
	"{% call(v) f(1) %}{{ v|upper }}{% endcall %}{% set ns = namespace(a={'k': 1}) %}{% set ns.b %}t{{ 2 ** 100 "
	"}}{% endset %}"
	"{{ ns }}{{ '%s-%5.2f' % ('a', 1.5) }}{{ '{:>5} {x}'.format('b', x=[1]) }}{{ {'b': 1, 'a': [1, {'c': "
	"none}]}|tojson(indent=2) }}"
	"{{ 'a,b'.split(',')|map('title')|join('-') }}{{ [3, 1]|sort|list }}{{ 'wrap me now'|wordwrap(4) }}{{ 10**30 "
	"// 7 }}"
	"{{ strftime_now('%Y') }}{{ m[0].role[::-1] }}{{ [{'a': 1}, {'a': 2}]|groupby('a') }}{{ nope }}{{ '<'|e }}{{ "
	"'é'|indent }}"
	"{% block q scoped %}{{ ns.a }}{% endblock %}{{ self.q() }}{% if 0 %}{% set zz = 1 %}{% else %}{% set yy = 2 "
	"%}{% endif %}"
	"{% filter replace('a', 'b') %}aa{% endfilter %}{{ cycler(1, 2).next() }}{{ joiner()() }}{{ dict(a=1, **{'b': "
	"2}) }}"
	"{{ [1, 2]|pprint }}{% for k, v in d|dictsort %}{{ k }}{{ v }}{% endfor %}{{ range(20)|batch(3)|list }}";

static void every_allocation_may_fail(void **state)
{
	(void)state;
	json_t *vars = json_pack("{s:[{s:s}], s:{s:i, s:f}}", "m", "role", "user", "d", "x", 1, "y", 2.5);
	struct outcome whole = render(allocating, sizeof allocating - 1, vars);
	if (whole.status) fail_msg("%s", whole.err.text);
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	size_t k = 1;
	for (;; k++) {
		bt_mem_fail_at(k);
		struct outcome o = render(allocating, sizeof allocating - 1, vars);
		bt_mem_fail_at(0);
		bool done = !o.status;
		if (done) assert_string_equal(bt_buf_str(&o.text), bt_buf_str(&whole.text));
		else assert_int_equal(o.status, BATON_ERR_NOMEM);
		bt_buf_free(&o.text);
		bt_mem_get_stats(&after);
		assert_int_equal(after.blocks, before.blocks);
		if (done) break;
	}
	assert_true(k > 4);
	bt_buf_free(&whole.text);
	json_decref(vars);
}

/* The arena asks for memory rarely, so fail its small pieces too: a render with less and less memory. */
static void memory_may_end_anywhere(void **state)
{
	(void)state;
	json_t *vars = json_pack("{s:[{s:s}], s:{s:i, s:f}}", "m", "role", "user", "d", "x", 1, "y", 2.5);
	struct bt_jinja *j;
	struct baton_error err;
	assert_int_equal(bt_jinja_open(allocating, sizeof allocating - 1, &j, &err), BATON_OK);
	bool good = false;
	size_t limited = 0;
	for (size_t limit = 64; !good; limit += 48) {
		struct bt_buf out;
		bt_buf_init(&out, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
		struct bt_jinja_params p = {.vars = vars, .now = &case_clock, .memory = limit};
		enum baton_status st = bt_jinja_render(j, &p, &out, &err);
		good = !st;
		limited += !good;
		if (!good) assert_int_equal(st, BATON_ERR_LIMIT);
		bt_buf_free(&out);
	}
	assert_true(limited > 200);
	bt_jinja_close(&j);
	json_decref(vars);
}

struct thread {
	const struct bt_jinja *j;
	const json_t *vars;
	const struct bt_buf *want;
	bool good;
};

static void *render_often(void *p)
{
	struct thread *t = p;
	t->good = true;
	for (int i = 0; i < 50; i++) {
		struct bt_buf out;
		bt_buf_init(&out, BT_MEM_TEXT, BT_LIMIT_TEMPLATE_OUTPUT);
		struct bt_jinja_params params = {.vars = t->vars, .now = &case_clock};
		bool ok = !bt_jinja_render(t->j, &params, &out, NULL) && out.len == t->want->len;
		t->good = t->good && ok && !memcmp(out.data, t->want->data, out.len);
		bt_buf_free(&out);
	}
	return NULL;
}

static void threads_share_a_template(void **state)
{
	(void)state;
	json_t *vars = json_pack("{s:[{s:s}], s:{s:i, s:f}}", "m", "role", "user", "d", "x", 1, "y", 2.5);
	struct outcome whole = render(allocating, sizeof allocating - 1, vars);
	struct bt_jinja *j;
	assert_int_equal(bt_jinja_open(allocating, sizeof allocating - 1, &j, NULL), BATON_OK);
	struct thread t[4];
	pthread_t id[4];
	for (int i = 0; i < 4; i++) {
		t[i] = (struct thread){.j = j, .vars = vars, .want = &whole.text};
		assert_int_equal(pthread_create(&id[i], NULL, render_often, &t[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(id[i], NULL);
		assert_true(t[i].good);
	}
	bt_jinja_close(&j);
	bt_buf_free(&whole.text);
	json_decref(vars);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_language_is_pythons),
		cmocka_unit_test(conversations_are_pythons),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(nesting_of_the_source_is_bounded),
		cmocka_unit_test(sources_are_checked),
		cmocka_unit_test(output_is_appended_or_left_alone),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(memory_may_end_anywhere),
		cmocka_unit_test(threads_share_a_template),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
