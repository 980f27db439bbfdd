package postgres

import (
	"context"
	"net/url"
	"strings"
	"testing"
)

// FuzzURL has passwords in URLs and in keywords and values, well-formed or not: no
// error shows them.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"s3cret-pw", "p%zz-secret", "with space secret", "quo'te\\secret", "@host:99999/secret", "secret port=x", ":secret:"} {
		f.Add(seed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // no connection is tried
	f.Fuzz(func(t *testing.T, password string) {
		const messages = "opening the database: failed to connect to `user=user database=db`: context canceled"
		if len(password) < 6 || strings.Contains(errURL.Error()+messages, password) {
			t.Skip("the password is a word of the messages")
		}
		for _, u := range []string{
			"postgres:/" + password,
			"postgres://user:" + password + "@127.0.0.1:1/db",
			"postgres://user:" + password + "@127.0.0.1:1/db?sslmode=nonsense",
			"postgres://user@127.0.0.1:1/db?password=" + url.QueryEscape(password) + "&port=x",
			"host=127.0.0.1 port=x password='" + password + "'",
		} {
			if _, err := config(u); err != nil && strings.Contains(err.Error(), password) {
				t.Errorf("config(%q) shows the password: %v", u, err)
			}
		}
		// A well-formed one, which no server answers.
		u := "postgres://user@127.0.0.1:1/db?password=" + url.QueryEscape(password)
		if err := Migrate(ctx, u); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("Migrate(%q) shows the password: %v", u, err)
		}
	})
}

func TestSettings(t *testing.T) {
	c, err := config("postgres://u@h/db?statement_timeout=7&pool_max_conns=40&connect_timeout=3")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"statement_timeout": "7", "idle_in_transaction_session_timeout": "2000", "lock_timeout": "10000", "enable_seqscan": "off", "tcp_user_timeout": "2000",
	} {
		if got := c.ConnConfig.RuntimeParams[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if c.MaxConns != 40 || c.ConnConfig.ConnectTimeout.Seconds() != 3 {
		t.Errorf("%d connections, timeout %v, want what the URL says", c.MaxConns, c.ConnConfig.ConnectTimeout)
	}
	c, err = config("postgres://u@h/db")
	if err != nil || c.MaxConns != maxConns || c.ConnConfig.ConnectTimeout != connectTimeout || c.ConnConfig.ValidateConnect == nil {
		t.Errorf("a plain URL: %v, %v", c, err)
	}
}
