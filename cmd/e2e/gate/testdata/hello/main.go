// Command hello is what the images of the tests run.
package main

import "fmt"

func main() { fmt.Println("hello from an accepted image") }
