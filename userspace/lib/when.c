// SPDX-License-Identifier: GPL-2.0-only
#include "when.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "seq.h"

#define FUTURE_S	60	/* a clock may be off by this */

/* Decimal digits only, at most max; moves *at behind them. */
static bool number(const char **at, int max_digits, uint64_t *value)
{
	int nr = 0;

	for (*value = 0; nr < max_digits && **at >= '0' && **at <= '9'; nr++, ++*at)
		*value = *value * 10 + (**at - '0');
	return nr > 0 && !(**at >= '0' && **at <= '9');
}

int when_duration(const char *text, uint64_t *seconds)
{
	static const struct { char unit; uint32_t seconds; } units[] = {
		{ 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 },
	};
	size_t next = 0;
	uint64_t sum = 0, value;

	if (!*text)
		return -EINVAL;
	while (*text) {
		if (!number(&text, 9, &value))
			return -EINVAL;
		/* Units come in this order, each once. */
		while (next < 4 && units[next].unit != *text)
			next++;
		if (next == 4)
			return -EINVAL;
		sum += value * units[next++].seconds;
		text++;
	}
	*seconds = sum;
	return 0;
}

/* ".25" as nanoseconds; nothing is 0. */
static bool fraction(const char **at, uint64_t *ns)
{
	uint32_t unit = WHEN_NS;
	bool any = false;

	*ns = 0;
	if (**at != '.')
		return true;
	for (++*at; **at >= '0' && **at <= '9'; ++*at, any = true) {
		unit /= 10;
		*ns += (uint64_t)(**at - '0') * unit;
	}
	return any;
}

/* "14:03" or "14:03:07.5" */
static bool time_of_day(const char **at, struct tm *tm, uint64_t *ns)
{
	uint64_t hour, minute, second = 0;

	*ns = 0;
	if (!number(at, 2, &hour) || **at != ':')
		return false;
	++*at;
	if (!number(at, 2, &minute))
		return false;
	if (**at == ':') {
		++*at;
		if (!number(at, 2, &second) || !fraction(at, ns))
			return false;
	}
	tm->tm_hour = hour;
	tm->tm_min = minute;
	tm->tm_sec = second;
	return hour < 24 && minute < 60 && second < 61;
}

static bool date(const char **at, struct tm *tm)
{
	static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t year, month, day;

	if (!number(at, 4, &year) || *(*at)++ != '-' || !number(at, 2, &month) ||
	    *(*at)++ != '-' || !number(at, 2, &day))
		return false;
	if (year < 1970 || year > 2500 || month < 1 || month > 12 || day < 1 ||
	    day > (uint64_t)days[month - 1])
		return false;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	tm->tm_mday = day;
	return true;
}

/* "Z", "+01:00", or nothing for local time. */
static bool zone_and_end(const char *at, struct tm *tm, int64_t *seconds)
{
	uint64_t hours, minutes;
	bool west;

	if (!*at) {
		tm->tm_isdst = -1;
		*seconds = mktime(tm);
		return *seconds >= 0;
	}
	*seconds = timegm(tm);
	if ((*at == 'Z' || *at == 'z') && !at[1])
		return true;
	west = *at == '-';
	if (*at != '+' && !west)
		return false;
	at++;
	if (!number(&at, 2, &hours) || *at++ != ':' || !number(&at, 2, &minutes) || *at ||
	    hours > 23 || minutes > 59)
		return false;
	*seconds += (west ? 1 : -1) * (int64_t)(hours * 3600 + minutes * 60);
	return *seconds >= 0;
}

static bool parse_today(const char *text, uint64_t now_ns, struct when *out)
{
	time_t now = now_ns / WHEN_NS;
	uint64_t ns;
	struct tm tm;
	time_t seconds;

	localtime_r(&now, &tm);
	if (!time_of_day(&text, &tm, &ns) || *text)
		return false;
	tm.tm_isdst = -1;
	seconds = mktime(&tm);
	if (seconds < 0)
		return false;
	*out = (struct when){ .kind = WHEN_TIME, .time_ns = (uint64_t)seconds * WHEN_NS + ns };
	return true;
}

static bool parse_date(const char *text, struct when *out)
{
	struct tm tm = { .tm_isdst = 0 };
	int64_t seconds;
	uint64_t ns;

	if (!date(&text, &tm) || (*text != 'T' && *text != 't' && *text != ' '))
		return false;
	text++;
	if (!time_of_day(&text, &tm, &ns) || !zone_and_end(text, &tm, &seconds))
		return false;
	*out = (struct when){ .kind = WHEN_TIME, .time_ns = (uint64_t)seconds * WHEN_NS + ns };
	return true;
}

static bool parse_seq(const char *text, struct when *out)
{
	uint64_t first, second;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	first = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end == ':') {
		if (end[1] < '0' || end[1] > '9' || first > SEQ_INCARNATION_MAX)
			return false;
		second = strtoull(end + 1, &end, 10);
		if (errno || second > SEQ_NUMBER_MAX)
			return false;
		first = seq_pack(first, second);
	}
	if (*end)
		return false;
	*out = (struct when){ .kind = WHEN_SEQ, .seq = first };
	return true;
}

int when_parse(const char *text, uint64_t now_ns, struct when *out, char *why)
{
	uint64_t seconds;

	if (strcmp(text, "latest") == 0) {
		*out = (struct when){ .kind = WHEN_LATEST };
		return 0;
	}
	if (*text == '-' && when_duration(text + 1, &seconds) == 0 &&
	    seconds <= now_ns / WHEN_NS) {
		*out = (struct when){ .kind = WHEN_TIME, .time_ns = now_ns - seconds * WHEN_NS };
		return 0;
	}
	if (strncmp(text, "seq:", 4) == 0 && parse_seq(text + 4, out))
		return 0;
	if (parse_date(text, out))
		return 0;
	if (parse_today(text, now_ns, out)) {
		if (out->time_ns <= now_ns + FUTURE_S * (uint64_t)WHEN_NS)
			return 0;
		snprintf(why, WHEN_TEXT_BYTES, "%.40s is still to come today; give the date too",
			 text);
		return -EINVAL;
	}
	snprintf(why, WHEN_TEXT_BYTES,
		 "'%.40s' is not latest, -5m, 14:03:07, 2026-11-22T14:03:07+01:00 or seq:1:4711",
		 text);
	return -EINVAL;
}

void when_utc(uint64_t time_ns, char *text, size_t bytes)
{
	time_t seconds = time_ns / WHEN_NS;
	char date_text[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(date_text, sizeof(date_text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, bytes, "%s.%09uZ", date_text, (unsigned int)(time_ns % WHEN_NS));
}

void when_local(uint64_t time_ns, char *text, size_t bytes)
{
	time_t seconds = time_ns / WHEN_NS;
	struct tm tm;

	localtime_r(&seconds, &tm);
	if (!strftime(text, bytes, "%Y-%m-%d %H:%M:%S %Z", &tm))
		snprintf(text, bytes, "?");
}
