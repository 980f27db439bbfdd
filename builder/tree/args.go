package tree

import "strings"

// FixedArgs returns the build arguments that StageX gives every package, before
// those of [Package.Args]. The last one is for BuildKit's own checks.
func FixedArgs() []Arg {
	return []Arg{
		{"SOURCE_DATE_EPOCH", "1"},
		{"BUILDKIT_MULTI_PLATFORM", "1"},
		{"BUILDKIT_DOCKERFILE_CHECK", "skip=FromPlatformFlagConstDisallowed;error=true"},
	}
}

// buildArgs returns the build arguments of a package as targets.py passes them,
// in its order, oddities included, since images may depend on them:
//   - VERSION_MAJOR_MINOR of a version of one part is Python's "None".
//   - A source's VERSION and SOURCE are passed only where it has a version of
//     its own.
//   - The file's {version_dash} and {version_under} are of the package's version
//     there, while fetch.py takes the source's. Lint's rule source-arg finds
//     where that matters.
func buildArgs(version string, sources []rawSource) []Arg {
	var args []Arg
	if version != "" {
		majorMinor, ok := versionMajorMinor(version)
		if !ok {
			majorMinor = "None"
		}
		args = append(args,
			Arg{"VERSION", version},
			Arg{"VERSION_UNDER", versionUnder(version)},
			Arg{"VERSION_DASH", versionDash(version)},
			Arg{"VERSION_MAJOR", versionMajor(version)},
			Arg{"VERSION_MAJOR_MINOR", majorMinor},
			Arg{"VERSION_STRIP_SUFFIX", versionStripSuffix(version)},
		)
	}
	for i := range sources {
		s := &sources[i]
		name := strings.ToUpper(s.name)
		if s.version != "" {
			file, err := sourceArg(version, s)
			if err != nil {
				continue // the source itself is refused for the same reason
			}
			args = append(args, Arg{name + "_VERSION", s.version}, Arg{name + "_SOURCE", file})
		}
		if s.gitSHA != "" {
			args = append(args, Arg{name + "_GIT_SHA", s.gitSHA})
		}
	}
	return args
}

// sourceArg returns the value of a source's <NAME>_SOURCE.
func sourceArg(version string, s *rawSource) (string, error) {
	p := versionPlaceholders(s.version, s.format)
	if version != "" {
		p["version_dash"], p["version_under"] = versionDash(version), versionUnder(version)
	}
	return p.expand(s.template())
}
