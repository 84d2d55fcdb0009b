// The certified oidc-provider of the browser tests, for tests in Python: takes the callback as its argument, prints where
// it is and which client it knows as a line of JSON, and ends when its standard input does.

import { CLIENT, startProvider } from '../browser/support/provider.js';

const provider = await startProvider({ redirectUri: process.argv[2] });
console.log(JSON.stringify({ issuer: provider.issuer, ...CLIENT }));
process.stdin.resume().once('end', () => process.exit(0));
