# A registrar of another make, on Net::SIP: its own parser, digest and bindings. It asks every REGISTER for credentials,
# grants what is asked, and says what it does.
use strict;
use warnings;
use Net::SIP;
use Net::SIP::Registrar;
use Net::SIP::Authorize;
use Net::SIP::ReceiveChain;

$| = 1;
my ($address, $domain) = @ARGV;
my $loop = Net::SIP::Dispatcher::Eventloop->new;
my $leg = Net::SIP::Leg->new(addr => $address, port => 5060, proto => 'udp');
my $dispatcher = Net::SIP::Dispatcher->new([$leg], $loop);
my $registrar = Net::SIP::Registrar->new(
    dispatcher => $dispatcher,
    domains    => [$domain],
    min_expires => 60,
    max_expires => 600,
);
my $authorize = Net::SIP::Authorize->new(
    dispatcher => $dispatcher,
    realm      => 'perl',
    user2pass  => sub { return 'of a telephone' },
);
my $chain = Net::SIP::ReceiveChain->new([$authorize, $registrar]);
$dispatcher->set_receiver(sub {
    my ($packet, $leg, $from) = @_;
    if ($packet->is_request) {
        my ($expires) = $packet->get_header('expires');
        my $proof = $packet->get_header('authorization') ? 'with' : 'without';
        print $packet->method, " $proof credentials for ", $expires // 'nothing', "\n";
    }
    return $chain->receive($packet, $leg, $from);
});
print "ready to serve\n";
$loop->loop;
