// Tells results in the words of cargo's tests, so that `make test` counts both in one way.

export default class Reporter {
  passed = 0;
  failed = 0;
  skipped = 0;

  onBegin(_config, suite) {
    console.log(`\nrunning ${suite.allTests().length} tests`);
  }

  onStdOut(chunk) {
    process.stdout.write(chunk);
  }

  onTestEnd(test, result) {
    const name = test.titlePath().filter(Boolean).slice(1).join(" › ");
    if (result.status === "skipped") {
      this.skipped += 1;
      console.log(`test ${name} ... ignored`);
    } else if (result.status === test.expectedStatus) {
      this.passed += 1;
      console.log(`test ${name} ... ok (${(result.duration / 1000).toFixed(1)} s)`);
    } else {
      this.failed += 1;
      console.log(`test ${name} ... FAILED`);
      for (const error of result.errors) console.log(error.snippet ? `${error.message}\n${error.snippet}` : error.message);
    }
  }

  onError(error) {
    this.failed += 1;
    console.log(error.message ?? error.value);
  }

  onEnd() {
    const verdict = this.failed === 0 ? "ok" : "FAILED";
    console.log(`\ntest result: ${verdict}. ${this.passed} passed; ${this.failed} failed; ${this.skipped} ignored`);
  }
}
