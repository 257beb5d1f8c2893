// Calls shop.v1.Orders with the official gRPC-Web client and prints, as one line of JSON, what a program is told.
//   node client.js <http://gateway> <Host> <method> <text|binary> <token or ->
'use strict';

const http = require('node:http');
const [base, host, method, format, token] = process.argv.slice(2);

// The client finds a browser's XMLHttpRequest in the global object. A browser sets Host from the address; here it is given.
global.XMLHttpRequest = require('xhr2').XMLHttpRequest;
const request = http.request;
http.request = (options, done) => request({ ...options, headers: { ...options.headers, host } }, done);

const { GrpcWebClientBase, MethodDescriptor, MethodType } = require('grpc-web');

// An Order has three strings, fields 1 to 3; a request for one has its id as field 1. All are shorter than 128 bytes.
const encode = (id) => Uint8Array.from([0x0a, id.length, ...Buffer.from(id)]);
const encodeCount = (n) => Uint8Array.from([0x08, n, 0x10, 1]);
function decode(bytes) {
  const names = { 1: 'id', 2: 'user', 3: 'caller' };
  const order = {};
  for (let i = 0; i < bytes.length; ) {
    const name = names[bytes[i] >> 3];
    const size = bytes[i + 1];
    order[name] = Buffer.from(bytes.slice(i + 2, i + 2 + size)).toString();
    i += 2 + size;
  }
  return order;
}

const client = new GrpcWebClientBase({ format });
const metadata = token === '-' ? {} : { authorization: 'Bearer ' + token };
const url = `${base}/shop.v1.Orders/${method}`;
const failed = (error) => ({ code: error.code, message: error.message });
const print = (result) => process.stdout.write(JSON.stringify(result) + '\n');

if (method === 'GetOrder') {
  const descriptor = new MethodDescriptor('/shop.v1.Orders/GetOrder', MethodType.UNARY, Object, Object, () => encode('7'), decode);
  client.rpcCall(url, {}, metadata, descriptor, (error, order) => print(error ? failed(error) : { order }));
} else {
  const descriptor = new MethodDescriptor(`/shop.v1.Orders/${method}`, MethodType.SERVER_STREAMING, Object, Object, () => encodeCount(3), decode);
  const orders = [];
  const stream = client.serverStreaming(url, {}, metadata, descriptor);
  stream.on('data', (order) => orders.push(order));
  stream.on('error', (error) => print(failed(error)));
  stream.on('end', () => print({ orders }));
}
