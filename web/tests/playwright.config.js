import { defineConfig } from "@playwright/test";

// One test at a time: they share one server, on two cores that emulate.
export default defineConfig({
  testDir: ".",
  outputDir: "results",
  reporter: "./reporter.js",
  workers: 1,
  forbidOnly: true,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  use: {
    baseURL: process.env.CONSOLE_URL,
    viewport: { width: 1280, height: 900 },
    actionTimeout: 60_000,
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: "/usr/bin/chromium",
      // Chromium's own sandbox refuses root. What this browser opens is our page alone, in a network without a way out.
      args: ["--no-sandbox"],
    },
  },
});
