/* format_spec.h: one value in a field, for '%' and for str.format. */
#ifndef BT_TEXT_JINJA_FORMAT_SPEC_H
#define BT_TEXT_JINJA_FORMAT_SPEC_H

#include "text/jinja/interp.h"

#define BT_JJ_MAX_FIELD     1000000 /* width of a field */
#define BT_JJ_MAX_PRECISION 1000

struct bt_jj_spec {
	uint32_t fill; /* 0: the default */
	char align;    /* < > ^ = ; 0: the default of the type */
	char sign;     /* + - or a space */
	bool alt;      /* # */
	bool no_neg_zero;
	char group;    /* ',' or '_' between thousands; 0 */
	int64_t width; /* -1: none */
	int64_t prec;  /* -1: none */
	char type;     /* 0: none */
};

/* Parse [[fill]align][sign][z][#][0][width][grouping][.precision][type] for a value of that type. false:
 * recorded. */
bool bt_jj_spec_parse(struct bt_jj *r, const char *s, size_t len, const char *type, struct bt_jj_spec *out);
/* An int (types b c d o x X n, or none), a float (e f g %, or none), a text (s, or none). */
void bt_jj_format_int(struct bt_jj_sb *b, struct bt_jj_val v, const struct bt_jj_spec *f);
void bt_jj_format_float(struct bt_jj_sb *b, double v, const struct bt_jj_spec *f);
void bt_jj_format_text(struct bt_jj_sb *b, const struct bt_jj_str *s, const struct bt_jj_spec *f);

/* The character that an int is. */
struct bt_jj_val bt_jj_char_of(struct bt_jj *r, struct bt_jj_val v);

#endif
