/* jinja.h: an interpreter for the Jinja2 of chat templates.
 *
 * Gives byte for byte what Python's jinja2 3.1 gives in the environment that transformers compiles for chat templates
 * (sandboxed, trim_blocks, lstrip_blocks, loop controls, `generation` blocks, tojson as json.dumps without ASCII or
 * HTML escaping, raise_exception, strftime_now). Templates come from untrusted files: source size, interpreter steps,
 * nesting, memory and output are limited (base/limits.h).
 */
#ifndef BT_TEXT_JINJA_H
#define BT_TEXT_JINJA_H

#include "base/buf.h"

#include <jansson.h>
#include <time.h>

struct bt_jinja;

/* Parse. source is copied. A syntax error is BATON_ERR_TEMPLATE with the line. */
enum baton_status bt_jinja_open(const char *source, size_t len, struct bt_jinja **out, struct baton_error *err);
void bt_jinja_close(struct bt_jinja **j);

struct bt_jinja_params {
	const json_t *vars;   /* object: the variables; order of keys is kept */
	const struct tm *now; /* the clock of strftime_now; NULL: local time */
	size_t memory;        /* bytes that the rendering may use; 0: BT_LIMIT_TEMPLATE_MEMORY */
	uint64_t steps;       /* and its work; 0: BT_LIMIT_TEMPLATE_STEPS */
};

/* Render into out (appended; initialise it with BT_LIMIT_TEMPLATE_OUTPUT). On failure BATON_ERR_TEMPLATE with the
 * message (of raise_exception: exactly the template's own words), BATON_ERR_LIMIT or BATON_ERR_NOMEM. */
enum baton_status bt_jinja_render(const struct bt_jinja *j, const struct bt_jinja_params *params, struct bt_buf *out,
                                  struct baton_error *err);

#endif
