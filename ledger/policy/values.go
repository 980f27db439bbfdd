package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	day = 24 * time.Hour
	// longest is what max-age may be. A policy that needs more needs none.
	longest = 36500 * day
)

// parseAge reads a duration: days, then whatever Go takes, such as 30d, 1d12h or
// 36h. It is positive and of whole seconds, as cosignatures' times are.
func parseAge(s string) (time.Duration, error) {
	bad := func(why string) (time.Duration, error) {
		return 0, fmt.Errorf("duration %.40q %s", s, why)
	}
	var age time.Duration
	rest := s
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil {
			return bad("does not begin with a whole number of days, such as 30d")
		}
		if n > uint64(longest/day) {
			return bad("is over the limit of 36500d")
		}
		age, rest = time.Duration(n)*day, after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || rest[0] == '+' || rest[0] == '-' {
			return bad("is not one such as 30d, 1d12h or 36h")
		}
		if d > longest {
			return bad("is over the limit of 36500d")
		}
		age += d
	}
	switch {
	case age <= 0:
		return bad("is not above 0")
	case age > longest:
		return bad("is over the limit of 36500d")
	case age%time.Second != 0:
		return bad("is not of whole seconds")
	}
	return age, nil
}

// FormatAge returns the canonical spelling of a max-age: days, hours, minutes and
// seconds, as far as there are any.
func FormatAge(d time.Duration) string {
	var b strings.Builder
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if n := d / unit.of; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d -= n * unit.of
		}
	}
	return b.String()
}

// parseUntil returns the first instant after what is written: a day, which lasts
// to its end in UTC, or an instant in RFC 3339.
func parseUntil(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err == nil {
		t = t.AddDate(0, 0, 1)
	} else {
		// Go's parser is laxer than the RFC.
		t, err = time.Parse(time.RFC3339, s)
		if err == nil && t.Format(time.RFC3339) != strings.Replace(s, "+00:00", "Z", 1) {
			err = errors.New("not as RFC 3339 spells it")
		}
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("date %.40q is neither YYYY-MM-DD nor YYYY-MM-DDThh:mm:ssZ", s)
	}
	// The canonical spelling has four digits for the year, also a day before
	// and in UTC.
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9998 {
		return time.Time{}, fmt.Errorf("date %.40q is not between 1970 and 9998", s)
	}
	return t, nil
}

// formatUntil returns the canonical spelling: a day if it ends at that instant.
func formatUntil(t time.Time) string {
	if t.Equal(t.Truncate(day)) {
		return t.AddDate(0, 0, -1).Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}
