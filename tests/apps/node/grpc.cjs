'use strict';
// A gRPC server (grpc-js), called by its own HTTP side for each request.
const grpc = require('@grpc/grpc-js');
const { up, work } = require('./common.cjs');

const json = { serialize: (v) => Buffer.from(JSON.stringify(v)), deserialize: (b) => JSON.parse(b) };
const method = {
  path: '/rows.Rows/Add', requestStream: false, responseStream: false,
  requestSerialize: json.serialize, requestDeserialize: json.deserialize,
  responseSerialize: json.serialize, responseDeserialize: json.deserialize,
};
const service = { Add: method };
const server = new grpc.Server();
server.addService(service, { Add: (call, done) => done(null, { ...work(), asked: call.request }) });
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  const Client = grpc.makeGenericClientConstructor(service, 'Rows');
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  require('http').createServer((request, response) => {
    client.Add({ url: request.url }, (failed, answer) => {
      response.statusCode = failed ? 500 : 200;
      response.end(failed ? String(failed) : JSON.stringify(answer));
    });
  }).listen(0, '127.0.0.1', function () { up(this.address().port); });
});
