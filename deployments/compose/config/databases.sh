# Run by PostgreSQL's image when it makes its data directory, and never again: a role
# and a database for each of cairn and trillian.
while read -r role password; do
	psql -v ON_ERROR_STOP=1 --username postgres --set role="$role" --set password="$password" <<-'SQL'
		CREATE ROLE :"role" LOGIN PASSWORD :'password';
		CREATE DATABASE :"role" OWNER :"role";
		REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
	SQL
done </run/secrets/postgres-roles
