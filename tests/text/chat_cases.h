/* chat_cases.h: finding and reading the test data of chat templates. */
#ifndef BT_TESTS_TEXT_CHAT_CASES_H
#define BT_TESTS_TEXT_CHAT_CASES_H

#include "base/buf.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The clock of all cases. */
static const struct tm case_clock = {.tm_year = 125,
                                     .tm_mon = 2,
                                     .tm_mday = 14,
                                     .tm_hour = 9,
                                     .tm_min = 26,
                                     .tm_sec = 53,
                                     .tm_wday = 5,
                                     .tm_yday = 72};

/* tests/data/text/chat, or the folder of data that may not be copied (NULL where that is absent). */
static const char *case_folder(bool shared, char *buf, size_t cap)
{
	const char *data = getenv("BATON_TEST_DATA"), *other = getenv("BATON_SHARED");
	if (!shared) snprintf(buf, cap, "%s/text/chat", data ? data : "tests/data");
	else if (other) snprintf(buf, cap, "%s/text/chat", other);
	else snprintf(buf, cap, "%s/../../../shared/text/chat", data ? data : "tests/data");
	char probe[4200];
	snprintf(probe, sizeof probe, "%s/cases.json", buf);
	FILE *f = fopen(probe, "rb");
	if (!f) return NULL;
	fclose(f);
	return buf;
}

/* All of a file; data NULL when it can't be read. Free with bt_buf_free. */
static struct bt_buf read_whole(const char *folder, const char *name)
{
	struct bt_buf b;
	char path[4400], block[65536];
	size_t n;
	bt_buf_init(&b, BT_MEM_TEXT, (size_t)1 << 30);
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "rb");
	if (!f) return b;
	while ((n = fread(block, 1, sizeof block, f)) > 0) bt_buf_add(&b, block, n);
	fclose(f);
	return b;
}

static json_t *read_cases(const char *folder, const char *name)
{
	json_error_t err;
	struct bt_buf b = read_whole(folder, name);
	json_t *j = json_loadb(bt_buf_str(&b), b.len, JSON_ALLOW_NUL, &err);
	if (!j) fprintf(stderr, "%s/%s: line %d: %s\n", folder, name, err.line, err.text);
	bt_buf_free(&b);
	return j;
}

#endif
